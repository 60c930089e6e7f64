#include "formats/shared_sectors.h"

#include <algorithm>
#include <cstring>

namespace dvcr {

namespace {

/// More edges than this go back to where all held bytes are, so that memory stays bounded (about 20 MiB).
constexpr size_t kMostSectors = 32768;

}  // namespace

Bytes SharedSectors::edge(uint64_t index) {
  auto found = sectors_.find(index);
  if (found == sectors_.end()) {
    std::array<uint8_t, kSector> bytes;
    size_t size = reader_.read_some_at(index * kSector, bytes);
    remember(index, Bytes(bytes).first(size));
    found = sectors_.find(index);
  }
  return Bytes(found->second.bytes).first(found->second.size);
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

size_t SharedSectors::read(uint64_t offset, MutableBytes out) {
  uint64_t last = (offset + out.size() - 1) / kSector;
  size_t done = 0;
  // The first sector, when another unit ends in it or was found to.
  uint64_t first = offset / kSector;
  if (first != last && (offset % kSector != 0 || sectors_.contains(first))) {
    Bytes head = edge(first);
    size_t skip = static_cast<size_t>(offset % kSector);
    if (head.size() <= skip) return 0;
    std::memcpy(out.data(), head.data() + skip, head.size() - skip);
    done = head.size() - skip;
    if (head.size() < kSector) return done;
  }
  // Up to the last sector, and that too when nobody read it before: one read for most units.
  uint64_t at = offset + done;
  if (first != last && !sectors_.contains(last)) {
    size_t got = reader_.read_some_at(at, out.subspan(done));
    uint64_t last_at = last * kSector;
    if (at + got > last_at) {
      remember(last,
               Bytes(out).subspan(static_cast<size_t>(last_at - offset), static_cast<size_t>(at + got - last_at)));
    }
    return done + got;
  }
  if (at < last * kSector) {
    size_t wanted = static_cast<size_t>(last * kSector - at);
    size_t got = reader_.read_some_at(at, out.subspan(done, wanted));
    done += got;
    if (got < wanted) return done;
  }
  Bytes tail = edge(last);
  size_t skip = first == last ? static_cast<size_t>(offset % kSector) : 0;
  if (tail.size() <= skip) return done;
  std::memcpy(out.data() + done, tail.data() + skip, tail.size() - skip);
  return done + tail.size() - skip;
}

}  // namespace dvcr
