// The header of a VMDK hosted sparse extent (VMware "Virtual Disk Format 5.0", SparseExtentHeader). All numbers are
// little-endian; offsets and sizes count sectors of 512 bytes.
#pragma once

#include "../bytes.h"
#include "../import_limits.h"
#include "vmdk_descriptor.h"

namespace dvcr {

inline constexpr uint64_t kSector = 512;
/// Entries of one grain table; the format allows no other number in practice.
inline constexpr uint64_t kGrainsPerTable = 512;
/// gdOffset of a header whose tables stand at the end of the file, found by the footer.
inline constexpr uint64_t kTablesAtEnd = ~uint64_t{0};
/// A grain table entry for a grain of zeros, where the header's flag allows it.
inline constexpr uint32_t kZeroGrain = 1;

struct VmdkHeader {
  uint32_t version = 0;
  uint32_t flags = 0;
  uint64_t capacity = 0;
  uint64_t grain_sectors = 0;
  uint64_t descriptor_offset = 0;
  uint64_t descriptor_sectors = 0;
  uint32_t entries_per_table = 0;
  uint64_t rgd_offset = 0;
  uint64_t gd_offset = 0;
  uint64_t overhead = 0;
  bool unclean_shutdown = false;
  uint16_t compression = 0;

  [[nodiscard]] bool has_redundant_directory() const {
    return (flags & 1u << 1) != 0 && rgd_offset != 0 && rgd_offset != kTablesAtEnd && rgd_offset != gd_offset;
  }
  [[nodiscard]] bool has_zero_grains() const { return (flags & 1u << 2) != 0; }
  [[nodiscard]] bool compressed() const { return (flags & 1u << 16) != 0; }
  [[nodiscard]] bool has_markers() const { return (flags & 1u << 17) != 0; }
  [[nodiscard]] bool tables_at_end() const { return gd_offset == kTablesAtEnd; }
  [[nodiscard]] uint64_t virtual_size() const { return capacity * kSector; }
  [[nodiscard]] uint64_t grain_bytes() const { return grain_sectors * kSector; }
  [[nodiscard]] uint64_t tables() const { return div_ceil(div_ceil(capacity, grain_sectors), kGrainsPerTable); }
};

/// True when `head` begins with the magic of a hosted sparse extent.
bool is_vmdk_sparse(Bytes head);

/// Reads the fields from one sector and checks what stands by itself: magic (kCorruptImage), version 1 to 3
/// (kUnsupportedFormat), the bytes that a text-mode transfer would damage (kCorruptImage).
VmdkHeader parse_vmdk_header(Bytes sector);

/// Checks that the numbers describe an extent that we read. Throws kTooLarge (capacity), kCorruptImage (grain size,
/// table size, offsets), kUnsupportedFeature (flags, compression).
void check_vmdk_geometry(const VmdkHeader& header, const Limits& limits);

/// Throws kCorruptImage when the footer tells of another disk than the header, or not where the tables are;
/// else like check_vmdk_geometry().
void check_vmdk_footer(const VmdkHeader& header, const VmdkHeader& footer, const Limits& limits);

/// Checks an embedded descriptor against its header: one sparse extent, without a path, of the header's kind.
/// Throws like refuse_unless_one_file(), and kEmpty, kExternalData, kMultiFile, kCorruptImage.
void check_vmdk_descriptor(const VmdkHeader& header, const VmdkDescriptor& descriptor);

}  // namespace dvcr
