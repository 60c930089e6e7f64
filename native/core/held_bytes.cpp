#include "held_bytes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace dvcr {

namespace {

/// The sectors of a page whose end [begin, end) reaches; a bit per sector.
uint8_t finished(uint64_t begin, uint64_t end) {
  unsigned first = static_cast<unsigned>(begin / HeldBytes::kSector);
  unsigned last = static_cast<unsigned>(end / HeldBytes::kSector);
  return first >= last ? uint8_t{0} : static_cast<uint8_t>((1u << last) - (1u << first));
}

/// The sectors of a page in which `bytes`, which stand at `within`, are not all zero.
uint8_t nonzero_sectors(uint64_t within, Bytes bytes) {
  if (is_zero(bytes)) return 0;
  unsigned sectors = 0;
  uint64_t done = 0;
  while (done < bytes.size()) {
    uint64_t at = within + done;
    uint64_t length = std::min<uint64_t>(HeldBytes::kSector - at % HeldBytes::kSector, bytes.size() - done);
    if (!is_zero(slice(bytes, done, length))) sectors |= 1u << at / HeldBytes::kSector;
    done += length;
  }
  return static_cast<uint8_t>(sectors);
}

}  // namespace

uint8_t* HeldBytes::MemoryPage::sector(unsigned index) const {
  unsigned before = stored & ((1u << index) - 1);
  return data.get() + static_cast<uint64_t>(std::popcount(before)) * kSector;
}

HeldBytes::HeldBytes(uint64_t window, uint64_t max_index, ScratchBudget& budget, std::string scratch_directory)
    : window_(window), max_index_(max_index), scratch_(std::move(scratch_directory), budget) {}

uint8_t HeldBytes::scratch_sectors(uint64_t page) const {
  auto group = scratch_live_.find(page / kPagesPerGroup);
  return group == scratch_live_.end() ? uint8_t{0} : group->second[page % kPagesPerGroup];
}

// A few bytes here and there in terabytes of zeros, which compress to nothing, would else fill the memory.
void HeldBytes::mark_scratch(uint64_t page, uint8_t sectors) {
  auto group = scratch_live_.find(page / kPagesPerGroup);
  if (group == scratch_live_.end()) {
    if ((scratch_live_.size() + 1) * kGroupBytes > max_index_) {
      throw Error(code::kMetadataLimit, "the image's parts that have to be held are scattered over more than " +
                                            std::to_string(scratch_live_.size()) + " places");
    }
    group = scratch_live_.emplace(page / kPagesPerGroup, ScratchGroup{}).first;
  }
  uint8_t& live = group->second[page % kPagesPerGroup];
  live = static_cast<uint8_t>(live | sectors);
}

void HeldBytes::grow(MemoryPage& held, uint8_t sectors) {
  MemoryPage larger;
  larger.stored = held.stored | sectors;
  larger.live = held.live;
  auto size = static_cast<uint64_t>(std::popcount(larger.stored)) * kSector;
  larger.data = std::make_unique<uint8_t[]>(size);
  for (unsigned i = 0; i < kPage / kSector; ++i) {
    if ((held.stored >> i & 1) != 0) std::memcpy(larger.sector(i), held.sector(i), kSector);
  }
  in_memory_ += size - static_cast<uint64_t>(std::popcount(held.stored)) * kSector;
  held = std::move(larger);
}

void HeldBytes::store_page(uint64_t page, uint64_t within, Bytes bytes, uint8_t sectors) {
  auto found = memory_.find(page);
  if (found == memory_.end()) {
    auto size = static_cast<uint64_t>(std::popcount(sectors)) * kSector;
    if (scratch_sectors(page) != 0 || in_memory_ + size > window_) {
      scratch_.write_at(page * kPage + within, bytes);
      mark_scratch(page, sectors);
      return;
    }
    found = memory_.emplace(page, MemoryPage{}).first;
  }
  MemoryPage& held = found->second;
  if ((sectors & ~held.stored) != 0) grow(held, sectors);
  for (unsigned i = 0; i < kPage / kSector; ++i) {
    if ((sectors >> i & 1) == 0) continue;
    uint64_t begin = std::max(within, i * kSector);
    uint64_t end = std::min(within + bytes.size(), (i + 1) * kSector);
    if ((held.live >> i & 1) == 0) std::memset(held.sector(i), 0, kSector);
    std::memcpy(held.sector(i) + begin % kSector, bytes.data() + (begin - within), end - begin);
  }
  held.live = held.live | sectors;
}

void HeldBytes::store(uint64_t offset, Bytes bytes) {
  // Whole pages that go to scratch are gathered, so that one write takes what one piece of the stream brought.
  uint64_t run_start = offset;
  size_t run_length = 0;
  auto flush = [&](Bytes run) {
    if (run_length == 0) return;
    scratch_.write_at(run_start, run.first(run_length));
    for (uint64_t page = run_start / kPage; page < (run_start + run_length) / kPage; ++page) {
      mark_scratch(page, 0xff);
    }
    run_length = 0;
  };
  Bytes run = bytes;
  while (!bytes.empty()) {
    uint64_t within = offset % kPage;
    auto length = static_cast<size_t>(std::min<uint64_t>(kPage - within, bytes.size()));
    Bytes piece = bytes.first(length);
    uint8_t sectors = nonzero_sectors(within, piece);
    if (length == kPage && sectors != 0 && in_memory_ + kPage > window_ && !memory_.contains(offset / kPage)) {
      if (run_length == 0) {
        run_start = offset;
        run = bytes;
      }
      run_length += length;
    } else {
      flush(run);
      if (sectors != 0) store_page(offset / kPage, within, piece, sectors);
    }
    bytes = bytes.subspan(length);
    offset += length;
  }
  flush(run);
}

void HeldBytes::take_memory(std::unordered_map<uint64_t, MemoryPage>::iterator found, uint64_t within,
                            MutableBytes out) {
  MemoryPage& held = found->second;
  uint64_t end = within + out.size();
  for (uint64_t at = within; at < end;) {
    auto index = static_cast<unsigned>(at / kSector);
    uint64_t length = std::min(kSector - at % kSector, end - at);
    uint8_t* to = out.data() + (at - within);
    if ((held.live >> index & 1) != 0) {
      std::memcpy(to, held.sector(index) + at % kSector, length);
    } else {
      std::memset(to, 0, length);
    }
    at += length;
  }
  held.live = static_cast<uint8_t>(held.live & ~finished(within, end));
  if (held.live != 0) return;
  in_memory_ -= static_cast<uint64_t>(std::popcount(held.stored)) * kSector;
  memory_.erase(found);
}

void HeldBytes::take_scratch(uint64_t offset, MutableBytes out) {
  scratch_.read_at(offset, out);
  uint64_t end = offset + out.size();
  uint64_t run_start = 0;
  uint64_t run_end = 0;
  for (uint64_t page = offset / kPage; page * kPage < end; ++page) {
    auto group = scratch_live_.find(page / kPagesPerGroup);
    if (group == scratch_live_.end()) continue;
    uint8_t& live = group->second[page % kPagesPerGroup];
    if (live == 0) continue;
    uint64_t begin = std::max(offset, page * kPage) - page * kPage;
    live = static_cast<uint8_t>(live & ~finished(begin, std::min(end, (page + 1) * kPage) - page * kPage));
    if (live != 0) continue;
    if (run_end != page * kPage) {
      if (run_end != 0) scratch_.release(run_start, run_end - run_start);
      run_start = page * kPage;
    }
    run_end = (page + 1) * kPage;
    if (group->second == ScratchGroup{}) scratch_live_.erase(group);
  }
  if (run_end != 0) scratch_.release(run_start, run_end - run_start);
}

void HeldBytes::take(uint64_t offset, MutableBytes out) {
  while (!out.empty()) {
    // A run of pages in the same place: in memory a page, in scratch or nowhere as many as there are.
    uint64_t end = offset;
    bool in_scratch = false;
    auto found = memory_.end();
    while (end < offset + out.size()) {
      uint64_t page = end / kPage;
      found = memory_.find(page);
      bool here = found == memory_.end() && scratch_sectors(page) != 0;
      if (end != offset && (found != memory_.end() || here != in_scratch)) break;
      in_scratch = here;
      end = std::min((page + 1) * kPage, offset + out.size());
      if (found != memory_.end()) break;
    }
    MutableBytes piece = out.first(static_cast<size_t>(end - offset));
    auto first = memory_.find(offset / kPage);
    if (first != memory_.end()) {
      take_memory(first, offset % kPage, piece);
    } else if (in_scratch) {
      take_scratch(offset, piece);
    } else {
      std::fill(piece.begin(), piece.end(), uint8_t{0});
    }
    out = out.subspan(piece.size());
    offset = end;
  }
}

}  // namespace dvcr
