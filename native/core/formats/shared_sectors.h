// Packed units stand next to each other without regard to sectors, and may be wanted in any order.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <vector>

#include "image_reader.h"

namespace dvcr {

/// Reads byte-packed units by whole sectors. A table only says how many sectors a unit may reach, and some writers say
/// more than it needs, so any sector of a unit may hold parts of others: all of them are kept until the unit's decoder
/// has told where it really ends, and those that it did not use up until every byte in them was claimed.
class SharedSectors {
 public:
  /// `claims` tells which bytes have been used by units that were decoded.
  SharedSectors(ImageReader& reader, const ByteClaims& claims) : reader_(reader), claims_(claims) {}
  /// Fills `out` from `offset`, where offset + out.size() is a multiple of 512, and returns how many bytes the stream
  /// has there. No two units may start at one offset.
  size_t read(uint64_t offset, MutableBytes out);
  /// The unit that was read at `offset` was decoded and used `consumed` bytes. Any thread.
  void decoded(uint64_t offset, size_t consumed);

 private:
  static constexpr uint64_t kSector = 512;
  struct Sector {
    std::array<uint8_t, kSector> bytes;
    size_t size;  // less only at the end of the stream
  };
  /// The whole sectors that a unit was read from.
  struct Unit {
    uint64_t start;
    std::vector<uint8_t> bytes;
  };
  struct Decoded {
    uint64_t offset;
    size_t consumed;
  };
  size_t gather(uint64_t at, MutableBytes out);
  [[nodiscard]] Bytes kept_at(uint64_t at) const;
  [[nodiscard]] uint64_t next_kept(uint64_t at, uint64_t end) const;
  void settle();
  void remember(uint64_t index, Bytes bytes);
  void sweep();

  ImageReader& reader_;
  const ByteClaims& claims_;
  std::map<uint64_t, Unit> units_;  // not decoded yet, by offset
  uint64_t longest_ = 0;            // bytes of a unit's sectors
  std::vector<std::vector<uint8_t>> spare_;
  std::map<uint64_t, Sector> sectors_;  // by number
  size_t sweep_at_ = 1024;
  std::mutex mutex_;
  std::vector<Decoded> decoded_;  // under the mutex
};

}  // namespace dvcr
