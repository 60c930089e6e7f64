// The log of a VHDX: writes that its owner had promised but perhaps not yet done when it went away.
#pragma once

#include <map>
#include <vector>

#include "formats/vhdx_header.h"

namespace dvcr {

/// Largest log that is replayed (bytes). Hyper-V and qemu write 1 MiB.
inline constexpr uint64_t kMaxVhdxLog = 64 * kMiB;

/// What a replay changes in the file, laid over what is read from it. Places and lengths are multiples of 4 KiB.
class VhdxOverlay {
 public:
  /// The sector at `offset` is now `sector` (4 KiB); empty stands for zeros over `length` bytes.
  void write(uint64_t offset, uint64_t length, std::vector<uint8_t> sector);
  /// Brings `bytes`, just read from `host_offset`, up to date.
  void apply(uint64_t host_offset, MutableBytes bytes) const;
  [[nodiscard]] bool empty() const { return patches_.empty(); }
  [[nodiscard]] size_t patches() const { return patches_.size(); }

 private:
  struct Patch {
    uint64_t end = 0;
    std::vector<uint8_t> sector;  // empty: zeros
  };
  void clear(uint64_t start, uint64_t end);
  std::map<uint64_t, Patch> patches_;  // by start; they do not overlap
};

struct VhdxReplay {
  VhdxOverlay overlay;
  uint64_t entries = 0;    ///< log entries replayed
  uint64_t file_size = 0;  ///< bytes that the file had at least when the last entry was written
};

/// Finds the active sequence in a log in use and replays it ([MS-VHDX] 2.3.2, 2.3.3): entries with `guid`, each with a
/// right CRC-32C, of ascending numbers, up to the newest and from the tail that the newest names.
/// `log` is the whole ring. `max_memory` bounds the overlay (bytes).
/// Throws kDirty when there is no such sequence or finding it would take too long, kMetadataLimit.
VhdxReplay replay_vhdx_log(Bytes log, const Guid& guid, uint64_t max_memory);

}  // namespace dvcr
