#include "formats/vhdx_header.h"

#include <algorithm>
#include <bit>

#include "formats/crc32c.h"

namespace dvcr {

namespace {

constexpr size_t kHeaderAt[] = {64 * kKiB, 128 * kKiB};
constexpr size_t kRegionTableAt[] = {192 * kKiB, 256 * kKiB};
constexpr size_t kHeaderSize = 4 * kKiB;
constexpr size_t kTableSize = 64 * kKiB;
constexpr size_t kChecksumAt = 4;
constexpr uint64_t kMaxEntries = 2047;
constexpr size_t kEntrySize = 32;
constexpr uint32_t kRegionRequired = 1;
constexpr uint32_t kItemRequired = 4;
constexpr uint32_t kHasParent = 2;
constexpr uint64_t kMaxVirtualSize = 64 * kTiB;

/// Puts a GUID given in its written form (three numbers, then bytes) in the order in which it is stored.
constexpr Guid guid(uint32_t a, uint16_t b, uint16_t c, uint64_t d) {
  Guid out{};
  for (size_t i = 0; i < 4; ++i) out[i] = static_cast<uint8_t>(a >> (8 * i));
  for (size_t i = 0; i < 2; ++i) out[4 + i] = static_cast<uint8_t>(b >> (8 * i));
  for (size_t i = 0; i < 2; ++i) out[6 + i] = static_cast<uint8_t>(c >> (8 * i));
  for (size_t i = 0; i < 8; ++i) out[8 + i] = static_cast<uint8_t>(d >> (56 - 8 * i));
  return out;
}

constexpr Guid kBlockTable = guid(0x2dc27766, 0xf623, 0x4200, 0x9d64115e9bfd4a08);
constexpr Guid kMetadata = guid(0x8b7ca206, 0x4790, 0x4b9a, 0xb8fe575f050f886e);
constexpr Guid kFileParameters = guid(0xcaa16737, 0xfa36, 0x4d43, 0xb3b633f0aa44e76b);
constexpr Guid kVirtualSize = guid(0x2fa54224, 0xcd1b, 0x4876, 0xb2115dbed83bf4b8);
constexpr Guid kSectorSize = guid(0x8141bf1d, 0xa96f, 0x4709, 0xba47f233a8faab5f);
constexpr Guid kPhysicalSectorSize = guid(0xcda348c7, 0x445d, 0x4471, 0x9cc9e9885251c556);
constexpr Guid kPage83 = guid(0xbeca12ab, 0xb2e6, 0x4523, 0x93efc309e000c746);
constexpr Guid kParentLocator = guid(0xa8d35f2d, 0xb30b, 0x454d, 0xabf7d3d84834ab0c);

Guid load_guid(Bytes bytes, size_t at) {
  Guid out{};
  Bytes stored = slice(bytes, at, out.size());
  std::copy(stored.begin(), stored.end(), out.begin());
  return out;
}

void store_once(HostRange& place, uint64_t offset, uint64_t length, const char* what) {
  if (place.length != 0) throw Error(code::kCorruptImage, std::string("the VHDX has two of its ") + what);
  place = {offset, length};
}

void check_aligned(uint64_t value, const char* what) {
  if (value % kMiB != 0) {
    throw Error(code::kCorruptImage,
                std::string("the VHDX's ") + what + " is " + std::to_string(value) + ", not a multiple of 1 MiB");
  }
}

Bytes valid_header(Bytes area, size_t at) {
  Bytes header = slice(area, at, kHeaderSize);
  return has_magic(header, 0, "head") && carries_crc32c(header, kChecksumAt) ? header : Bytes();
}

bool valid_region_table(Bytes table) {
  return has_magic(table, 0, "regi") && carries_crc32c(table, kChecksumAt);
}

}  // namespace

VhdxHeader parse_vhdx_header(Bytes area) {
  Bytes first = valid_header(area, kHeaderAt[0]);
  Bytes second = valid_header(area, kHeaderAt[1]);
  if (first.empty() && second.empty()) {
    throw Error(code::kCorruptImage, "neither of the VHDX's headers has a valid checksum");
  }
  if (!first.empty() && !second.empty()) {
    const uint64_t a = le64(first, 8);
    const uint64_t b = le64(second, 8);
    if (a == b && !std::equal(first.begin(), first.end(), second.begin())) {
      throw Error(code::kCorruptImage,
                  "the VHDX's headers differ and have the same sequence number " + std::to_string(a));
    }
    if (a < b) first = {};
  }
  Bytes header = first.empty() ? second : first;
  if (le16(header, 66) != 1) {
    throw Error(code::kUnsupportedFeature, "VHDX version " + std::to_string(le16(header, 66)) + "; only 1 is read");
  }
  if (le16(header, 64) != 0) {
    throw Error(code::kUnsupportedFeature,
                "the VHDX's log is of version " + std::to_string(le16(header, 64)) + "; only 0 is read");
  }
  VhdxHeader out;
  out.sequence = le64(header, 8);
  out.log_guid = load_guid(header, 48);
  out.log = {le64(header, 72), le32(header, 68)};
  check_aligned(out.log.offset, "log offset");
  check_aligned(out.log.length, "log length");
  if (!out.log_is_empty() && out.log.length == 0) throw Error(code::kDirty, "the VHDX's log has 0 bytes but is in use");
  return out;
}

VhdxRegions parse_vhdx_regions(Bytes area) {
  Bytes table = slice(area, kRegionTableAt[0], kTableSize);
  if (!valid_region_table(table)) table = slice(area, kRegionTableAt[1], kTableSize);
  if (!valid_region_table(table)) {
    throw Error(code::kCorruptImage, "neither of the VHDX's region tables has a valid checksum");
  }
  const uint64_t count = le32(table, 8);
  if (count > kMaxEntries) {
    throw Error(code::kCorruptImage, "the VHDX's region table has " + std::to_string(count) + " entries");
  }
  VhdxRegions out;
  for (uint64_t i = 0; i < count; ++i) {
    Bytes entry = slice(table, 16 + i * kEntrySize, kEntrySize);
    const Guid id = load_guid(entry, 0);
    const HostRange place{le64(entry, 16), le32(entry, 24)};
    check_aligned(place.offset, "region offset");
    check_aligned(place.length, "region length");
    if (place.length == 0) throw Error(code::kCorruptImage, "a region of the VHDX has 0 bytes");
    if (id == kBlockTable) {
      store_once(out.block_table, place.offset, place.length, "block tables");
    } else if (id == kMetadata) {
      store_once(out.metadata, place.offset, place.length, "metadata regions");
    } else if ((le32(entry, 28) & kRegionRequired) != 0) {
      throw Error(code::kUnsupportedFeature,
                  "the VHDX needs a region that is not known, entry " + std::to_string(i) + " of its region table");
    }
    out.all.push_back(place);
  }
  if (out.block_table.length == 0 || out.metadata.length == 0) {
    throw Error(code::kCorruptImage, "the VHDX's region table of " + std::to_string(count) +
                                         " entries lacks the block table or the metadata");
  }
  return out;
}

VhdxItems parse_vhdx_items(Bytes table, uint64_t region_length) {
  if (!has_magic(table, 0, "metadata")) {
    throw Error(code::kCorruptImage, "the VHDX's metadata table has no signature");
  }
  const uint64_t count = le16(table, 10);
  if (count > kMaxEntries) {
    throw Error(code::kCorruptImage, "the VHDX's metadata table has " + std::to_string(count) + " entries");
  }
  VhdxItems out;
  for (uint64_t i = 0; i < count; ++i) {
    Bytes entry = slice(table, (i + 1) * kEntrySize, kEntrySize);
    const Guid id = load_guid(entry, 0);
    const uint64_t offset = le32(entry, 16);
    const uint64_t length = le32(entry, 20);
    if (length != 0 && (offset < kVhdxMetadataTableSize || offset + length > region_length)) {
      throw Error(code::kCorruptImage, "a VHDX metadata item of " + std::to_string(length) +
                                           " bytes cannot be at byte " + std::to_string(offset) + " of its region");
    }
    if (id == kFileParameters) {
      store_once(out.parameters, offset, length, "file parameters");
    } else if (id == kVirtualSize) {
      store_once(out.virtual_size, offset, length, "virtual sizes");
    } else if (id == kSectorSize) {
      store_once(out.sector_size, offset, length, "logical sector sizes");
    } else if (id != kPhysicalSectorSize && id != kPage83 && id != kParentLocator &&
               (le32(entry, 24) & kItemRequired) != 0) {
      throw Error(code::kUnsupportedFeature,
                  "the VHDX needs a metadata item that is not known, entry " + std::to_string(i) + " of its table");
    }
  }
  if (out.parameters.length < 8 || out.virtual_size.length < 8 || out.sector_size.length < 4) {
    throw Error(code::kCorruptImage, "the VHDX's metadata table of " + std::to_string(count) +
                                         " entries lacks the file parameters, the disk size or the sector size");
  }
  return out;
}

uint64_t VhdxItems::end() const {
  return std::max({parameters.end(), virtual_size.end(), sector_size.end()});
}

VhdxParameters parse_vhdx_parameters(const VhdxValues& values, uint64_t max_virtual_size) {
  VhdxParameters out;
  const auto& [parameters, virtual_size, sector_size] = values;
  out.block_size = le32(parameters, 0);
  out.virtual_size = le64(virtual_size, 0);
  out.sector_size = le32(sector_size, 0);
  if ((le32(parameters, 4) & kHasParent) != 0) {
    throw Error(code::kBackingFile, "the VHDX is a differencing one and needs its parent");
  }
  if (!std::has_single_bit(out.block_size) || out.block_size < kMiB || out.block_size > 256 * kMiB) {
    throw Error(code::kCorruptImage, "the VHDX's block size is " + std::to_string(out.block_size));
  }
  if (out.sector_size != 512 && out.sector_size != 4096) {
    throw Error(code::kCorruptImage, "the VHDX's sector size is " + std::to_string(out.sector_size));
  }
  if (out.virtual_size == 0) throw Error(code::kEmpty, "the VHDX's disk has 0 bytes");
  if (out.virtual_size > std::min(max_virtual_size, kMaxVirtualSize)) {
    throw Error(code::kTooLarge, "the VHDX's disk has " + std::to_string(out.virtual_size) + " bytes");
  }
  if (out.virtual_size % out.sector_size != 0) {
    throw Error(code::kCorruptImage, "the VHDX's disk of " + std::to_string(out.virtual_size) +
                                         " bytes does not end with a sector of " + std::to_string(out.sector_size));
  }
  return out;
}

}  // namespace dvcr
