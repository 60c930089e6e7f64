#include "vmdk_stream.h"

#include <algorithm>

namespace dvcr {
namespace {

constexpr uint64_t kTableSectors = kGrainsPerTable * 4 / kSector;
constexpr uint64_t kPiece = 64 * kKiB;

std::string num(uint64_t value) {
  return std::to_string(value);
}

}  // namespace

void VmdkStream::corrupt(const std::string& why) const {
  throw Error(code::kCorruptImage, "the VMDK stream at byte " + num(at_) + " " + why);
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
  if (directory_sector_ != 0) corrupt("has a grain after the grain directory");
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
  uint64_t table = grain_index / kGrainsPerTable;
  if (open_.empty() || open_.back().index != table) {
    if (table < directory_.size() && directory_[static_cast<size_t>(table)] != 0) {
      corrupt("has a grain after the table that should name it");
    }
    if ((open_.size() + 1) * sizeof(GrainTable) > reader_.limits().max_metadata) {
      throw Error(code::kMetadataLimit, "more than " + num(open_.size()) + " tables of the VMDK are outstanding");
    }
    open_.push_back({table, std::make_unique<GrainTable>()});
  }
  uint64_t sector = at_ / kSector;
  if (sector > UINT32_MAX) corrupt("lies beyond what a grain table can name");
  (*open_.back().grains)[static_cast<size_t>(grain_index % kGrainsPerTable)] = static_cast<uint32_t>(sector);
}

void VmdkStream::metadata(const VmdkMarker& marker) {
  next_ = at_ + kSector;
  switch (static_cast<MarkerType>(marker.type)) {
    case MarkerType::kEndOfStream:
      return end_of_stream(marker.number);
    case MarkerType::kGrainTable:
      return grain_table(marker.number);
    case MarkerType::kGrainDirectory:
      return grain_directory(marker.number);
    case MarkerType::kFooter:
      return footer(marker.number);
  }
  corrupt("has a marker of the unknown type " + num(marker.type));
}

// Tables come in guest order, each after the last of its grains, so the oldest open one must be meant.
void VmdkStream::grain_table(uint64_t sectors) {
  if (sectors != kTableSectors) corrupt("has a grain table of " + num(sectors) + " sectors, not 4");
  if (directory_sector_ != 0) corrupt("has a grain table after the grain directory");
  std::array<uint8_t, kTableSectors * kSector> raw;
  reader_.read_at(next_, raw, "a grain table");
  uint64_t sector = next_ / kSector;
  next_ += raw.size();
  if (sector > UINT32_MAX) corrupt("lies beyond what a grain directory can name");
  GrainTable table;
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = le32(raw, i * 4);
    if (header_.has_zero_grains() && table[i] == kZeroGrain) table[i] = 0;
  }
  if (std::all_of(table.begin(), table.end(), [](uint32_t entry) { return entry == 0; })) {
    if (empty_tables_.size() * 4 >= reader_.limits().max_metadata) {
      throw Error(code::kMetadataLimit, "the VMDK has more than " + num(empty_tables_.size()) + " empty grain tables");
    }
    empty_tables_.push_back(static_cast<uint32_t>(sector));
    return;
  }
  if (open_.empty() || *open_.front().grains != table)
    corrupt("has a grain table that contradicts the grains before it");
  auto index = static_cast<size_t>(open_.front().index);
  open_.pop_front();
  if (index * 4 >= reader_.limits().max_metadata) {
    throw Error(code::kMetadataLimit, "the VMDK's grain directory is larger than the limit for metadata");
  }
  if (directory_.size() <= index) directory_.resize(index + 1);
  directory_[index] = static_cast<uint32_t>(sector);
}

void VmdkStream::grain_directory(uint64_t sectors) {
  if (directory_sector_ != 0) corrupt("has a second grain directory");
  if (!open_.empty()) corrupt("lacks " + num(open_.size()) + " grain tables");
  uint64_t entries = header_.tables();
  uint64_t needed = div_ceil(entries * 4, kSector);
  // Writers may fill the directory up to a whole grain.
  if (sectors < needed || sectors - needed > header_.grain_sectors) {
    corrupt("has a grain directory of " + num(sectors) + " sectors, not " + num(needed));
  }
  directory_sector_ = next_ / kSector;
  std::vector<uint8_t> raw;
  uint64_t index = 0;
  for (uint64_t end = next_ + sectors * kSector; next_ < end; next_ += raw.size()) {
    raw.resize(static_cast<size_t>(std::min(kPiece, end - next_)));
    reader_.read_at(next_, raw, "the grain directory");
    for (size_t i = 0; i < raw.size(); i += 4, ++index) {
      uint32_t entry = le32(raw, i);
      uint32_t expected = index < directory_.size() ? directory_[static_cast<size_t>(index)] : 0;
      bool empty =
          expected == 0 && index < entries && std::binary_search(empty_tables_.begin(), empty_tables_.end(), entry);
      if (entry != expected && !empty) corrupt("has a grain directory that contradicts the tables before it");
    }
  }
}

void VmdkStream::footer(uint64_t sectors) {
  if (sectors != 1) corrupt("has a footer of " + num(sectors) + " sectors, not 1");
  if (directory_sector_ == 0) corrupt("has a footer before the grain directory");
  std::array<uint8_t, kSector> raw;
  reader_.read_at(next_, raw, "the VMDK footer");
  next_ += kSector;
  VmdkHeader fields = parse_vmdk_header(raw);
  check_vmdk_footer(header_, fields, reader_.limits());
  if (fields.gd_offset != directory_sector_) {
    corrupt("has a footer with the grain directory at sector " + num(fields.gd_offset) + ", not " +
            num(directory_sector_));
  }
  footer_seen_ = true;
}

void VmdkStream::end_of_stream(uint64_t sectors) {
  if (sectors != 0) corrupt("has an end marker with a length of " + num(sectors) + " sectors");
  if (!footer_seen_) corrupt("ends without a footer");
  std::array<uint8_t, 1> more;
  if (reader_.read_some_at(next_, more) != 0) {
    throw Error(code::kTrailingData, "the VMDK goes on after its end marker, at byte " + num(next_));
  }
  zeros_.add((header_.capacity - frontier_) * kSector);
  zeros_.flush();
  ended_ = true;
}

}  // namespace dvcr
