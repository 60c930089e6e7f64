// A stretch of the disk on its way to its output.
#pragma once

#include <vector>

#include "../extent_sink.h"
#include "disk_file.h"

namespace dvcr {

struct DiskWindow {
  /// A compressed unit; its content goes to [at, at + guest_size) of the window.
  struct Unit {
    CompressedUnit unit;
    size_t packed_at;
    size_t at;
    size_t consumed;  ///< packed bytes that decoding used
  };
  /// A unit that began in the window before and was decoded there: only its observer waits.
  struct Observed {
    UnitObserver* observer;
    uint64_t host_offset;
    size_t consumed;
  };
  /// Bytes [begin, end) that are zeros to be left out, or data to be written.
  struct Run {
    size_t begin;
    size_t end;
    bool zeros;
  };

  uint64_t offset = 0;  ///< on the disk (bytes)
  size_t capacity = 0;  ///< bytes of the disk it may hold
  size_t filled = 0;
  AlignedBuffer content;
  size_t allocated = 0;
  std::vector<uint8_t> arena;  ///< packed units
  size_t arena_used = 0;
  std::vector<Observed> observed;  ///< before all of `units`
  std::vector<Unit> units;
  std::vector<Run> runs;
  std::vector<PackedCluster> packed;

  void open(uint64_t disk_offset, size_t size) {
    offset = disk_offset;
    capacity = size;
    filled = arena_used = 0;
    observed.clear();
    units.clear();
    runs.clear();
    packed.clear();
    if (allocated >= size) return;
    content = make_aligned((size + kDiskAlign - 1) / kDiskAlign * kDiskAlign);
    allocated = size;
  }
  [[nodiscard]] size_t room() const { return capacity - filled; }
  [[nodiscard]] MutableBytes bytes() { return {content.get(), filled}; }

  /// Decodes the units into the content. Throws kCorruptCluster.
  void decode_units(std::vector<uint8_t>& bounce);
  /// Cuts the content into runs; zeros are whole blocks of `hole` bytes (0: everything is data) at multiples of it.
  void find_runs(uint64_t hole);
};

}  // namespace dvcr
