#include "vmdk_header.h"

#include <bit>

#include "../extent_sink.h"

namespace dvcr {
namespace {

constexpr std::string_view kMagic = "KDMV";
constexpr uint32_t kNewlineTest = 1u << 0;
// The upper half of the flags is for features that a reader must know; the lower half may be ignored.
constexpr uint32_t kKnownIncompatible = 1u << 16 | 1u << 17;
constexpr uint32_t kIncompatible = 0xffff0000;
constexpr uint64_t kMinGrainSectors = 8;
constexpr uint16_t kDeflate = 1;

std::string num(uint64_t value) {
  return std::to_string(value);
}

[[noreturn]] void corrupt(const std::string& why) {
  throw Error(code::kCorruptImage, "the VMDK header " + why);
}

// In the encodings of two bytes a letter, a backslash may be the second half of one.
bool is_path(std::string_view name) {
  if (name.find('/') != std::string_view::npos || name == "..") return true;
  const bool utf8 = plain_utf8_length(name) == name.size();
  for (size_t at = name.find('\\'); at != std::string_view::npos; at = name.find('\\', at + 1)) {
    const bool half = !utf8 && at > 0 && static_cast<uint8_t>(name[at - 1]) >= 0x80;
    if (!half) return true;
  }
  return false;
}

}  // namespace

bool is_vmdk_sparse(Bytes head) {
  return has_magic(head, 0, kMagic);
}

VmdkHeader parse_vmdk_header(Bytes sector) {
  if (!has_magic(sector, 0, kMagic)) corrupt("has no magic number");
  VmdkHeader header;
  header.version = le32(sector, 4);
  header.flags = le32(sector, 8);
  header.capacity = le64(sector, 12);
  header.grain_sectors = le64(sector, 20);
  header.descriptor_offset = le64(sector, 28);
  header.descriptor_sectors = le64(sector, 36);
  header.entries_per_table = le32(sector, 44);
  header.rgd_offset = le64(sector, 48);
  header.gd_offset = le64(sector, 56);
  header.overhead = le64(sector, 64);
  header.unclean_shutdown = slice(sector, 72, 1)[0] != 0;
  header.compression = le16(sector, 77);
  if (header.version < 1 || header.version > 3) {
    throw Error(code::kUnsupportedFormat, "the VMDK has version " + num(header.version) + "; 1 to 3 are known");
  }
  if ((header.flags & kNewlineTest) != 0 && !has_magic(sector, 73, "\n \r\n")) {
    corrupt("was changed by a transfer in text mode (line ends at byte 73)");
  }
  return header;
}

void check_vmdk_geometry(const VmdkHeader& header, const Limits& limits) {
  if (header.capacity > limits.max_virtual_size / kSector) {
    throw Error(code::kTooLarge, "the VMDK has a capacity of " + num(header.capacity) +
                                     " sectors, more than the limit of " + num(limits.max_virtual_size / kSector));
  }
  if (!std::has_single_bit(header.grain_sectors) || header.grain_sectors < kMinGrainSectors ||
      header.grain_sectors > kMaxUnitSize / kSector) {
    corrupt("has a grain size of " + num(header.grain_sectors) + " sectors, not a power of two from 8 to 4096");
  }
  if (header.entries_per_table != kGrainsPerTable) {
    corrupt("has " + num(header.entries_per_table) + " entries in a grain table, not 512");
  }
  if ((header.flags & kIncompatible & ~kKnownIncompatible) != 0) {
    throw Error(code::kUnsupportedFeature, "the VMDK header has unknown flags: " + num(header.flags));
  }
  if (header.compression > kDeflate) {
    throw Error(code::kUnsupportedFeature, "the VMDK has the unknown compression " + num(header.compression));
  }
  if (header.compressed() != (header.compression == kDeflate)) corrupt("has a compression that its flags deny");
  if (header.compressed() != header.has_markers()) {
    throw Error(code::kUnsupportedFeature, "the VMDK has compressed grains without markers or the other way round");
  }
  uint64_t sectors = uint64_t{1} << 55;  // what fits 64 bits once it is counted in bytes
  if (header.tables_at_end()) {
    if (!header.compressed()) corrupt("has no grain directory");
    if (header.overhead >= sectors) corrupt("has an overhead of " + num(header.overhead) + " sectors");
  } else if (header.gd_offset == 0 || header.gd_offset >= sectors) {
    corrupt("has the grain directory at sector " + num(header.gd_offset));
  }
  if (header.has_redundant_directory() && header.rgd_offset >= sectors) {
    corrupt("has the redundant grain directory at sector " + num(header.rgd_offset));
  }
}

void check_vmdk_footer(const VmdkHeader& header, const VmdkHeader& footer, const Limits& limits) {
  auto same = [](uint64_t a, uint64_t b, const char* what) {
    if (a != b) {
      throw Error(code::kCorruptImage, std::string("the VMDK footer differs from the header in ") + what + ": " +
                                           num(b) + " instead of " + num(a));
    }
  };
  same(header.version, footer.version, "the version");
  same(header.flags, footer.flags, "the flags");
  same(header.capacity, footer.capacity, "the capacity");
  same(header.grain_sectors, footer.grain_sectors, "the grain size");
  same(header.descriptor_offset, footer.descriptor_offset, "the descriptor's place");
  same(header.descriptor_sectors, footer.descriptor_sectors, "the descriptor's size");
  same(header.entries_per_table, footer.entries_per_table, "the table size");
  same(header.compression, footer.compression, "the compression");
  if (footer.gd_offset == 0 || footer.tables_at_end()) {
    throw Error(code::kCorruptImage, "the VMDK footer does not say where the grain directory is");
  }
  check_vmdk_geometry(footer, limits);
}

void check_vmdk_descriptor(const VmdkHeader& header, const VmdkDescriptor& descriptor) {
  refuse_unless_one_file(descriptor);
  if (descriptor.extents.size() > 1) {
    throw Error(code::kMultiFile, "the VMDK consists of " + num(descriptor.extents.size()) + " extents");
  }
  if (descriptor.extents.empty()) throw Error(code::kCorruptImage, "the VMDK descriptor names no extent");
  const VmdkExtentLine& extent = descriptor.extents.front();
  // With a capacity of 0 other readers take the descriptor for the disk and open what it names.
  if (extent.type != "SPARSE" || (header.capacity == 0 && extent.sectors != 0)) {
    throw Error(code::kExternalData, "the VMDK's embedded descriptor names another file with the data");
  }
  if (header.capacity == 0) throw Error(code::kEmpty, "the VMDK has a capacity of 0 sectors");
  if (extent.access == "NOACCESS") throw Error(code::kCorruptImage, "the VMDK's extent has the access NOACCESS");
  if (is_path(extent.name)) {
    throw Error(code::kExternalData, "the VMDK's embedded descriptor names its extent by a path");
  }
  bool stream = descriptor.create_type.size() == std::string_view("streamOptimized").size();
  if (stream != header.compressed()) {
    throw Error(code::kCorruptImage, "the VMDK's createType and its header disagree on whether grains are compressed");
  }
}

}  // namespace dvcr
