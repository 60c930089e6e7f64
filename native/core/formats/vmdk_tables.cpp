#include "vmdk_tables.h"

#include <algorithm>
#include <bit>

namespace dvcr {
namespace {

constexpr uint64_t kTableBytes = kGrainsPerTable * 4;
constexpr uint64_t kTableSectors = kTableBytes / kSector;
constexpr size_t kReadAtOnce = 1u << 20;

uint64_t sectors_up(uint64_t bytes) {
  return div_ceil(bytes, kSector) * kSector;
}

// Calls `visit(first index, number of tables, sector)` for each run of tables that follow each other in the file.
// Tools allocate all tables in one go, so a disk of terabytes has a handful of runs.
template <typename Visit>
void for_each_run(const std::vector<uint32_t>& directory, Visit visit) {
  for (size_t first = 0; first < directory.size();) {
    if (directory[first] == 0) {
      ++first;
      continue;
    }
    size_t count = 1;
    while (first + count < directory.size() &&
           directory[first + count] == uint64_t{directory[first]} + count * kTableSectors) {
      ++count;
    }
    visit(first, count, uint64_t{directory[first]});
    first += count;
  }
}

}  // namespace

void HostRanges::add(uint64_t offset, uint64_t length) {
  ranges_.push_back({offset, offset + length});
}

void HostRanges::seal() {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.start < b.start; });
  for (size_t i = 1; i < ranges_.size(); ++i) {
    if (ranges_[i].start < ranges_[i - 1].end) {
      bool alias = ranges_[i].start == ranges_[i - 1].start;
      throw Error(alias ? code::kAlias : code::kOverlap,
                  "two tables of the VMDK overlap at byte " + std::to_string(ranges_[i].start));
    }
  }
}

bool HostRanges::overlaps(uint64_t offset, uint64_t length) const {
  auto next = std::lower_bound(ranges_.begin(), ranges_.end(), offset,
                               [](const Range& range, uint64_t at) { return range.end <= at; });
  return next != ranges_.end() && next->start < offset + length;
}

GrainTables::GrainTables(ImageReader& reader, const VmdkHeader& header)
    : reader_(reader), header_(header), zero_grains_(header.has_zero_grains()) {
  metadata_.add(0, kSector);
  metadata_.add(header.descriptor_offset * kSector, header.descriptor_sectors * kSector);
  if (header.has_redundant_directory()) {
    locate(read_directory(header.rgd_offset, "the redundant grain directory"), false);
  }
  std::vector<uint32_t> directory = read_directory(header.gd_offset, "the grain directory");
  locate(directory, true);
  metadata_.seal();
  read_tables(directory);
  check_grains();
}

void GrainTables::book(uint64_t bytes) {
  booked_ += bytes;
  if (booked_ > reader_.limits().max_metadata) {
    throw Error(code::kMetadataLimit, "the VMDK's grain tables need more than the limit of " +
                                          std::to_string(reader_.limits().max_metadata) + " bytes");
  }
}

// Grows with what arrived, so that a capacity without tables behind it allocates nothing.
std::vector<uint32_t> GrainTables::read_directory(uint64_t sector, const char* what) {
  uint64_t total = header_.tables() * 4;
  book(total);
  metadata_.add(sector * kSector, sectors_up(total));
  std::vector<uint32_t> directory;
  std::vector<uint8_t> raw;
  for (uint64_t done = 0; done < total; done += raw.size()) {
    raw.resize(static_cast<size_t>(std::min<uint64_t>(kReadAtOnce, total - done)));
    reader_.read_metadata_at(sector * kSector + done, raw, what);
    for (size_t at = 0; at < raw.size(); at += 4) directory.push_back(le32(raw, at));
  }
  return directory;
}

void GrainTables::locate(const std::vector<uint32_t>& directory, bool wanted) {
  for_each_run(directory, [&](size_t, size_t count, uint64_t at) {
    book(sizeof(uint64_t) * 2);
    metadata_.add(at * kSector, count * kTableBytes);
    if (!wanted) reader_.discard(at * kSector, count * kTableBytes);
  });
}

void GrainTables::read_tables(const std::vector<uint32_t>& directory) {
  book(directory.size() * sizeof(tables_[0]));
  tables_.resize(directory.size());
  std::vector<uint8_t> raw;
  for_each_run(directory, [&](size_t first, size_t count, uint64_t at) {
    for (size_t done = 0; done < count;) {
      size_t now = std::min<size_t>(count - done, kReadAtOnce / kTableBytes);
      raw.resize(now * kTableBytes);
      reader_.read_metadata_at(at * kSector + done * kTableBytes, raw, "a grain table");
      for (size_t i = 0; i < now; ++i) take(first + done + i, slice(raw, i * kTableBytes, kTableBytes));
      done += now;
    }
  });
}

void GrainTables::take(uint64_t index, Bytes raw) {
  if (is_zero(raw)) return;
  book(kTableBytes);
  auto table = std::make_unique<GrainTable>();
  for (size_t i = 0; i < kGrainsPerTable; ++i) (*table)[i] = le32(raw, i * 4);
  tables_[static_cast<size_t>(index)] = std::move(table);
}

void GrainTables::check_grains() {
  // A compressed grain's length is known only once it was read; its first sector can be checked now.
  uint64_t length = header_.compressed() ? kSector : header_.grain_bytes();
  uint64_t all_bits = header_.grain_bytes();
  for (size_t t = 0; t < tables_.size(); ++t) {
    if (!tables_[t]) continue;
    for (uint32_t entry : *tables_[t]) {
      if (reads_as_zero(entry)) continue;
      uint64_t offset = entry * kSector;
      all_bits |= offset;
      if (metadata_.overlaps(offset, length)) {
        throw Error(code::kOverlap, "grain table " + std::to_string(t) +
                                        " of the VMDK names a grain within metadata, at byte " +
                                        std::to_string(offset));
      }
    }
  }
  alignment_bits_ = static_cast<unsigned>(std::countr_zero(all_bits));
}

}  // namespace dvcr
