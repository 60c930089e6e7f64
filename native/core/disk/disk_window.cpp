#include "disk_window.h"

#include <algorithm>
#include <cstring>

#include "../codec.h"

namespace dvcr {

void DiskWindow::decode_units(std::vector<uint8_t>& bounce) {
  for (Unit& entry : units) {
    const CompressedUnit& unit = entry.unit;
    const MutableBytes place = bytes().subspan(entry.at, unit.guest_size);
    const Bytes source = Bytes(arena).subspan(entry.packed_at, unit.packed_size);
    const bool whole = unit.guest_size == unit.unit_size;
    // Decoded aside where only a part belongs to the disk: the bytes behind it may be another unit's.
    if (!whole) bounce.resize(unit.unit_size);
    entry.consumed = decode_checked(unit, source, whole ? place : MutableBytes(bounce)).consumed;
    if (!whole) std::memcpy(place.data(), bounce.data(), place.size());
  }
}

void DiskWindow::find_runs(uint64_t hole) {
  const auto add = [this](size_t begin, size_t end, bool zeros) {
    if (!runs.empty() && runs.back().zeros == zeros) {
      runs.back().end = end;
    } else {
      runs.push_back({begin, end, zeros});
    }
  };
  if (hole == 0) {
    add(0, filled, false);
    return;
  }
  for (size_t at = 0; at < filled;) {
    const size_t end = std::min<size_t>(at + static_cast<size_t>(hole - (offset + at) % hole), filled);
    add(at, end, is_zero(bytes().subspan(at, end - at)));
    at = end;
  }
}

}  // namespace dvcr
