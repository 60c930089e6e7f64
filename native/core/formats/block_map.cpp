#include "formats/block_map.h"

#include <algorithm>

namespace dvcr {

namespace {

constexpr uint64_t kLargestRead = kMiB;
constexpr uint64_t kTablePiece = 256 * kKiB;

void check_tables(std::vector<HostRange>& tables) {
  std::sort(tables.begin(), tables.end(), [](const HostRange& a, const HostRange& b) { return a.offset < b.offset; });
  for (size_t i = 0; i < tables.size(); ++i) {
    const uint64_t end = tables[i].end();
    if (i + 1 < tables.size() && end > tables[i + 1].offset) {
      throw Error(code::kOverlap, "two tables overlap at byte " + std::to_string(tables[i + 1].offset));
    }
  }
}

}  // namespace

void check_map_budget(uint64_t entries, const Limits& limits) {
  // The map, and a sorted copy of it while the layout is checked.
  constexpr uint64_t kBytesPerEntry = 2 * sizeof(uint32_t);
  if (entries > limits.max_metadata / kBytesPerEntry) {
    throw Error(code::kMetadataLimit, "the block table has " + std::to_string(entries) + " entries, more than " +
                                          std::to_string(limits.max_metadata) + " bytes of memory hold");
  }
}

void for_each_piece(ImageReader& reader, uint64_t host_offset, uint64_t length, const char* what,
                    const std::function<void(uint64_t at, MutableBytes piece)>& take) {
  checked_add(host_offset, length, what);
  std::vector<uint8_t> buffer(static_cast<size_t>(std::min(length, kTablePiece)));
  for (uint64_t at = 0; at < length;) {
    MutableBytes piece = MutableBytes(buffer).first(static_cast<size_t>(std::min(length - at, kTablePiece)));
    reader.read_metadata_at(host_offset + at, piece, what);
    take(at, piece);
    at += piece.size();
  }
}

void check_layout(const std::vector<uint32_t>& places, const BlockGeometry& geometry, std::vector<HostRange> tables) {
  check_tables(tables);
  std::vector<uint32_t> sorted;
  sorted.reserve(places.size());
  std::copy_if(places.begin(), places.end(), std::back_inserter(sorted), [](uint32_t p) { return p != kNoBlock; });
  std::sort(sorted.begin(), sorted.end());
  const uint64_t stored = geometry.lead + geometry.block_size;
  auto table = tables.begin();
  for (size_t i = 0; i < sorted.size(); ++i) {
    const uint64_t start = geometry.lead_at(sorted[i]);
    if (i > 0 && sorted[i] == sorted[i - 1]) {
      throw Error(code::kAlias, "the block at byte " + std::to_string(start) + " is used twice");
    }
    if (i > 0 && geometry.lead_at(sorted[i - 1]) + stored > start) {
      throw Error(code::kOverlap, "two blocks overlap at byte " + std::to_string(start));
    }
    while (table != tables.end() && table->end() <= start) ++table;
    if (table != tables.end() && table->offset < start + stored) {
      throw Error(code::kOverlap, "the block at byte " + std::to_string(start) + " overlaps the table at byte " +
                                      std::to_string(table->offset));
    }
  }
}

uint64_t BlockCopier::clip(uint64_t length) const {
  return std::min(length, disk_size_ - position_);
}

void BlockCopier::data(uint64_t host_offset, uint64_t length) {
  length = clip(length);
  if (length == 0) return;
  flush_zeros();
  if (run_.length != 0 && run_.end() != host_offset) flush_data();
  if (run_.length == 0) run_.offset = host_offset;
  run_.length += length;
  position_ += length;
}

void BlockCopier::zero(uint64_t length) {
  length = clip(length);
  if (length == 0) return;
  flush_data();
  zero_run_ += length;
  position_ += length;
}

void BlockCopier::finish() {
  flush_data();
  flush_zeros();
}

void BlockCopier::flush_data() {
  while (run_.length != 0) {
    MutableBytes room = sink_.reserve(static_cast<size_t>(std::min(run_.length, kLargestRead)));
    const size_t got = reader_.read_some_at(run_.offset, room);
    if (got < room.size()) {
      throw Error(code::kTruncated, "the image ends before guest offset " +
                                        std::to_string(position_ - run_.length + got) + ", which stands at byte " +
                                        std::to_string(run_.offset + got));
    }
    if (patch_) patch_(run_.offset, room);
    sink_.commit(got);
    run_.offset += got;
    run_.length -= got;
  }
}

void BlockCopier::flush_zeros() {
  if (zero_run_ != 0) sink_.zero(zero_run_);
  zero_run_ = 0;
}

}  // namespace dvcr
