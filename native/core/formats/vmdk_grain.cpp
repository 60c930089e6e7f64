#include "vmdk_grain.h"

#include <algorithm>
#include <cstring>

namespace dvcr {
namespace {

constexpr size_t kMarkerBytes = 12;  // of a grain
constexpr size_t kMetadataMarkerBytes = 16;

[[noreturn]] void truncated(const char* what, uint64_t offset) {
  throw Error(code::kTruncated, std::string("the file ends within ") + what + " at byte " + std::to_string(offset));
}

}  // namespace

VmdkMarker VmdkGrains::read_marker(uint64_t offset) {
  offset_ = offset;
  filled_ = reader_.read_some_at(offset, sector_);
  Bytes sector = Bytes(sector_).first(filled_);
  if (filled_ < kMarkerBytes) truncated("a VMDK marker", offset);
  marker_ = {le64(sector, 0), le32(sector, 8), 0};
  if (marker_.size > 2 * header_.grain_bytes()) {
    throw Error(code::kCorruptImage, "the VMDK grain at byte " + std::to_string(offset) + " has a packed size of " +
                                         std::to_string(marker_.size) + " bytes, more than two grains");
  }
  if (marker_.size == 0) {
    if (filled_ < kSector) truncated("a VMDK marker", offset);
    marker_.type = le32(sector, kMarkerBytes);
    if (!is_zero(sector.subspan(kMetadataMarkerBytes))) {
      throw Error(code::kCorruptImage, "the VMDK marker at byte " + std::to_string(offset) + " is not a marker");
    }
  }
  return marker_;
}

bool VmdkGrains::read_metadata_marker(uint64_t offset, VmdkMarker& marker) {
  offset_ = offset;
  filled_ = reader_.read_some_at(offset, sector_);
  if (filled_ < kSector) truncated("a VMDK marker or table", offset);
  marker_ = {le64(sector_, 0), le32(sector_, 8), le32(sector_, kMarkerBytes)};
  marker = marker_;
  return marker_.size == 0 && marker_.type != 0 && is_zero(Bytes(sector_).subspan(kMetadataMarkerBytes)) &&
         marker_.type <= static_cast<uint32_t>(MarkerType::kFooter) && marker_.number <= UINT32_MAX;
}

uint64_t VmdkGrains::stored_bytes() const {
  return div_ceil(kMarkerBytes + uint64_t{marker_.size}, kSector) * kSector;
}

void VmdkGrains::emit(size_t guest_size) {
  size_t size = marker_.size;
  MutableBytes room = sink_.reserve_unit(static_cast<size_t>(stored_bytes()) - kMarkerBytes, header_.grain_bytes());
  size_t have = std::min(filled_, static_cast<size_t>(kSector)) - kMarkerBytes;
  std::memcpy(room.data(), sector_.data() + kMarkerBytes, have);
  // The last grain of a file need not be filled up to a sector.
  if (have < size) have += reader_.read_some_at(offset_ + kSector, room.subspan(have));
  if (have < size) truncated("the VMDK grain", offset_);
  sink_.commit_unit({.codec = UnitCodec::kZlib,
                     .host_offset = offset_ + kMarkerBytes,
                     .packed_size = size,
                     .unit_size = static_cast<size_t>(header_.grain_bytes()),
                     .min_size = guest_size,
                     .guest_size = guest_size,
                     .observer = nullptr});
}

}  // namespace dvcr
