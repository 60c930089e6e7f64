#include "formats/shared_sectors.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dvcr {

namespace {

/// More sectors than this go back to where all held bytes are, so that memory stays bounded (about 20 MiB).
constexpr size_t kMostSectors = 32768;

}  // namespace

void SharedSectors::decoded(uint64_t offset, size_t consumed) {
  std::lock_guard lock(mutex_);
  decoded_.push_back({offset, consumed});
}

// Of a decoded unit remain the sector that it begins in, unless it fills it from its start, and those from its end on.
void SharedSectors::settle() {
  std::vector<Decoded> done;
  {
    std::lock_guard lock(mutex_);
    done.swap(decoded_);
  }
  for (const auto& [offset, consumed] : done) {
    auto found = units_.find(offset);
    if (found == units_.end()) continue;
    Unit unit = std::move(found->second);
    units_.erase(found);
    uint64_t first_free = (offset + consumed) / kSector * kSector;
    for (uint64_t at = unit.start; at < unit.start + unit.bytes.size(); at += kSector) {
      if (at >= first_free || at < offset) {
        Bytes rest = Bytes(unit.bytes).subspan(static_cast<size_t>(at - unit.start));
        remember(at / kSector, rest.first(std::min<size_t>(rest.size(), kSector)));
      } else {
        at = std::max(at, first_free - kSector);
      }
    }
    spare_.push_back(std::move(unit.bytes));
  }
}

void SharedSectors::remember(uint64_t index, Bytes bytes) {
  if (sectors_.size() >= sweep_at_) sweep();
  Sector& sector = sectors_[index];
  sector.size = bytes.size();
  std::copy(bytes.begin(), bytes.end(), sector.bytes.begin());
}

void SharedSectors::sweep() {
  std::erase_if(sectors_, [this](const auto& item) {
    return claims_.covers(item.first * kSector, Bytes(item.second.bytes).first(item.second.size));
  });
  if (sectors_.size() > kMostSectors) {
    for (const auto& [index, sector] : sectors_) {
      reader_.put_back(index * kSector, Bytes(sector.bytes).first(sector.size));
    }
    sectors_.clear();
  }
  sweep_at_ = std::max<size_t>(1024, 2 * sectors_.size());
}

/// What is kept from the sector at byte `at` on, of one unit or of that sector alone; nothing where it was not read.
Bytes SharedSectors::kept_at(uint64_t at) const {
  auto unit = units_.lower_bound(at + kSector);
  while (unit != units_.begin()) {
    --unit;
    const auto& [start, bytes] = unit->second;
    if (start + longest_ <= at) break;
    if (start <= at && at < start + bytes.size()) return Bytes(bytes).subspan(static_cast<size_t>(at - start));
  }
  auto sector = sectors_.find(at / kSector);
  if (sector == sectors_.end()) return {};
  return Bytes(sector->second.bytes).first(sector->second.size);
}

/// Where the first sector that is kept begins, from the byte `at` on; `end` where none is before it.
uint64_t SharedSectors::next_kept(uint64_t at, uint64_t end) const {
  auto unit = units_.lower_bound(at);
  if (unit != units_.end()) end = std::min(end, std::max(at, unit->second.start));
  auto sector = sectors_.lower_bound(at / kSector);
  if (sector != sectors_.end()) end = std::min(end, sector->first * kSector);
  return end;
}

size_t SharedSectors::gather(uint64_t at, MutableBytes out) {
  size_t done = 0;
  while (done < out.size()) {
    MutableBytes room = out.subspan(done);
    Bytes kept = kept_at(at + done);
    size_t wanted = room.size();
    size_t got = std::min(wanted, kept.size());
    if (!kept.empty()) {
      std::memcpy(room.data(), kept.data(), got);
    } else {
      wanted = static_cast<size_t>(next_kept(at + done, at + out.size()) - (at + done));
      got = reader_.read_some_at(at + done, room.first(wanted));
    }
    done += got;
    bool stream_ended = done % kSector != 0 || (kept.empty() && got < wanted);
    if (stream_ended) break;
  }
  return done;
}

size_t SharedSectors::read(uint64_t offset, MutableBytes out) {
  settle();
  Unit unit{offset / kSector * kSector, {}};
  if (!spare_.empty()) {
    unit.bytes = std::move(spare_.back());
    spare_.pop_back();
  }
  auto skip = static_cast<size_t>(offset - unit.start);
  unit.bytes.resize(skip + out.size());
  longest_ = std::max<uint64_t>(longest_, unit.bytes.size());
  unit.bytes.resize(gather(unit.start, unit.bytes));
  if (unit.bytes.size() <= skip) return 0;
  size_t got = unit.bytes.size() - skip;
  std::memcpy(out.data(), unit.bytes.data() + skip, got);
  units_.emplace(offset, std::move(unit));
  return got;
}

}  // namespace dvcr
