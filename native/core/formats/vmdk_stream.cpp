#include "vmdk_stream.h"

#include <algorithm>

#include "../hash.h"

namespace dvcr {
namespace {

constexpr uint64_t kTableSectors = kGrainsPerTable * 4 / kSector;
constexpr uint64_t kPiece = 64 * kKiB;
/// A main directory and a redundant one.
constexpr size_t kMostDirectories = 2;
/// What an entry of a hash map takes besides its value (bytes).
constexpr uint64_t kNodeBytes = 48;

std::string num(uint64_t value) {
  return std::to_string(value);
}

}  // namespace

void VmdkStream::corrupt(const std::string& why) const {
  throw Error(code::kCorruptImage, "the VMDK stream at byte " + num(at_) + " " + why);
}

void VmdkStream::book(uint64_t bytes) {
  booked_ += bytes;
  if (booked_ > reader_.limits().max_metadata) {
    throw Error(code::kMetadataLimit,
                "the VMDK's tables need more than the limit of " + num(reader_.limits().max_metadata) + " bytes");
  }
}

VmdkStream::TableDigest VmdkStream::digest_of(const GrainTable& table) {
  Digest digest("sha256");
  digest.update({reinterpret_cast<const uint8_t*>(table.data()), sizeof(table)});
  const std::string hex = digest.finish();
  TableDigest half{};
  std::copy_n(hex.begin(), half.size(), half.begin());
  return half;
}

void VmdkStream::run() {
  uint64_t described = (header_.descriptor_offset + header_.descriptor_sectors) * kSector;
  next_ = header_.overhead * kSector;
  if (next_ < described) {
    throw Error(code::kOverlap, "the VMDK's grains start at sector " + num(header_.overhead) + ", within metadata");
  }
  reader_.discard(described, next_ - described);
  while (!ended_) {
    at_ = next_;
    VmdkMarker marker = grains_.read_marker(at_);
    if (footer_seen_ && (marker.size != 0 || marker.type != 0)) corrupt("goes on after the footer");
    if (marker.size != 0) {
      grain(marker.number);
    } else {
      metadata(marker);
    }
  }
}

void VmdkStream::grain(uint64_t lba) {
  if (lba % header_.grain_sectors != 0) corrupt("has a grain for the unaligned guest sector " + num(lba));
  if (lba >= header_.capacity) corrupt("has a grain for guest sector " + num(lba) + ", beyond the capacity");
  if (lba < frontier_) {
    bool twice = frontier_ - lba <= header_.grain_sectors;
    throw Error(twice ? code::kAlias : code::kOutOfOrder, "the VMDK grain at byte " + num(at_) +
                                                              " is for guest sector " + num(lba) + ", after sector " +
                                                              num(frontier_) + " was passed");
  }
  note(lba / header_.grain_sectors);
  zeros_.add((lba - frontier_) * kSector);
  zeros_.flush();
  uint64_t end = std::min(lba + header_.grain_sectors, header_.capacity);
  grains_.emit(static_cast<size_t>((end - lba) * kSector));
  frontier_ = end;
  next_ = at_ + grains_.stored_bytes();
}

void VmdkStream::note(uint64_t grain_index) {
  const uint64_t table = grain_index / kGrainsPerTable;
  if (!is_open_ || open_index_ != table) {
    close_table();
    open_.fill(0);
    open_index_ = table;
    is_open_ = true;
  }
  const uint64_t sector = at_ / kSector;
  if (sector > UINT32_MAX) corrupt("lies beyond what a grain table can name");
  open_[static_cast<size_t>(grain_index % kGrainsPerTable)] = static_cast<uint32_t>(sector);
}

void VmdkStream::close_table() {
  if (!is_open_) return;
  book(sizeof(TableDigest) + kNodeBytes);
  expected_[open_index_] = digest_of(open_);
  is_open_ = false;
}

void VmdkStream::metadata(const VmdkMarker& marker) {
  next_ = at_ + kSector;
  switch (static_cast<MarkerType>(marker.type)) {
    case MarkerType::kEndOfStream:
      return end_of_stream(marker.number);
    case MarkerType::kGrainTable:
      return grain_tables(marker.number);
    case MarkerType::kGrainDirectory:
      return grain_directory(marker.number);
    case MarkerType::kFooter:
      return footer(marker.number);
  }
  corrupt("has a marker of the unknown type " + num(marker.type));
}

// Xen Orchestra leaves the number of sectors at 0 and puts all tables behind one marker: they go on up to the next.
void VmdkStream::grain_tables(uint64_t sectors) {
  if (sectors % kTableSectors != 0) corrupt("has a grain table of " + num(sectors) + " sectors, not 4");
  const uint64_t most = sectors == 0 ? header_.tables() : sectors / kTableSectors;
  if (most > header_.tables()) corrupt("has " + num(most) + " grain tables after one marker");
  std::array<uint8_t, kTableSectors * kSector> raw;
  for (uint64_t i = 0; i < most; ++i) {
    VmdkMarker marker;
    const bool ended = grains_.read_metadata_marker(next_, marker) && sectors == 0 && i > 0;
    if (ended) {
      at_ = next_;
      return metadata(marker);
    }
    Bytes first = grains_.sector();
    std::copy(first.begin(), first.end(), raw.begin());
    reader_.read_at(next_ + kSector, MutableBytes(raw).subspan(kSector), "a grain table");
    take_table(raw, next_ / kSector);
    next_ += raw.size();
  }
}

void VmdkStream::take_table(Bytes raw, uint64_t sector) {
  if (sector > UINT32_MAX) corrupt("lies beyond what a grain directory can name");
  GrainTable table;
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = le32(raw, i * 4);
    if (header_.has_zero_grains() && table[i] == kZeroGrain) table[i] = 0;
  }
  book(sizeof(TableDigest) + kNodeBytes);
  tables_[static_cast<uint32_t>(sector)] = digest_of(table);
}

void VmdkStream::grain_directory(uint64_t sectors) {
  if (directories_.size() == kMostDirectories) corrupt("has a third grain directory");
  const uint64_t entries = header_.tables();
  const uint64_t needed = div_ceil(entries * 4, kSector);
  if (sectors == 0) sectors = needed;
  // Writers may fill the directory up to a whole grain.
  if (sectors < needed || sectors - needed > header_.grain_sectors) {
    corrupt("has a grain directory of " + num(sectors) + " sectors, not " + num(needed));
  }
  std::vector<uint32_t>& directory = directories_[next_ / kSector];
  std::vector<uint8_t> raw;
  for (uint64_t end = next_ + sectors * kSector; next_ < end; next_ += raw.size()) {
    raw.resize(static_cast<size_t>(std::min(kPiece, end - next_)));
    reader_.read_at(next_, raw, "the grain directory");
    book(raw.size());
    for (size_t i = 0; i < raw.size(); i += 4) directory.push_back(le32(raw, i));
  }
  const auto behind = directory.begin() + static_cast<std::ptrdiff_t>(entries);
  if (std::any_of(behind, directory.end(), [](uint32_t entry) { return entry != 0; })) {
    corrupt("has a grain directory with entries beyond the capacity");
  }
}

void VmdkStream::footer(uint64_t sectors) {
  if (sectors > 1) corrupt("has a footer of " + num(sectors) + " sectors, not 1");
  std::array<uint8_t, kSector> raw;
  reader_.read_at(next_, raw, "the VMDK footer");
  next_ += kSector;
  const VmdkHeader fields = parse_vmdk_header(raw);
  check_vmdk_footer(header_, fields, reader_.limits());
  close_table();
  compare_directory(fields.gd_offset);
  if (fields.has_redundant_directory()) compare_directory(fields.rgd_offset);
  footer_seen_ = true;
}

void VmdkStream::compare_directory(uint64_t sector) const {
  const auto found = directories_.find(sector);
  if (found == directories_.end())
    corrupt("has no grain directory at sector " + num(sector) + ", where its footer says");
  static const TableDigest kNoGrains = digest_of(GrainTable{});
  for (uint64_t index = 0; index < header_.tables(); ++index) {
    const uint32_t entry = found->second[static_cast<size_t>(index)];
    const auto wanted = expected_.find(index);
    const auto table = tables_.find(entry);
    const bool has_grains = wanted != expected_.end();
    if (entry == 0 && !has_grains) continue;
    if (entry == 0 || table == tables_.end()) {
      corrupt("has a grain directory that names no grain table for table " + num(index));
    }
    if (table->second != (has_grains ? wanted->second : kNoGrains)) {
      corrupt("has a grain table at sector " + num(entry) + " that contradicts its grains");
    }
  }
}

void VmdkStream::end_of_stream(uint64_t sectors) {
  if (sectors != 0) corrupt("has an end marker with a length of " + num(sectors) + " sectors");
  // A sector of zeros is an end marker by its form, and padding where the footer has not come: Xen Orchestra fills its
  // files up to the size that it promised.
  if (!footer_seen_) return;
  std::array<uint8_t, 1> more;
  if (reader_.read_some_at(next_, more) != 0) {
    throw Error(code::kTrailingData, "the VMDK goes on after its end marker, at byte " + num(next_));
  }
  zeros_.add((header_.capacity - frontier_) * kSector);
  zeros_.flush();
  ended_ = true;
}

}  // namespace dvcr
