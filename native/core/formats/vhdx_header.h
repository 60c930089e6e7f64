// The tables at the start of a VHDX: headers, regions, metadata.
// Layout: Microsoft's [MS-VHDX], version 1; numbers are little-endian, GUIDs mixed-endian.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "formats/block_map.h"

namespace dvcr {

using Guid = std::array<uint8_t, 16>;  ///< as stored

/// The current one of a VHDX's two headers.
struct VhdxHeader {
  uint64_t sequence = 0;
  Guid log_guid{};
  HostRange log;
  [[nodiscard]] bool log_is_empty() const { return log_guid == Guid{}; }
};

struct VhdxRegions {
  HostRange block_table;
  HostRange metadata;
  std::vector<HostRange> all;  ///< these two and the ones that a reader may ignore
};

struct VhdxParameters {
  uint64_t block_size = 0;    ///< bytes
  uint64_t virtual_size = 0;  ///< bytes
  uint64_t sector_size = 0;   ///< bytes of a logical sector
};

/// Where a known item stands in the metadata region.
struct VhdxItems {
  HostRange parameters;
  HostRange virtual_size;
  HostRange sector_size;
  [[nodiscard]] uint64_t end() const;
};

inline constexpr size_t kVhdxItemSize = 8;  ///< bytes of the longest of these

/// The first bytes of each known item, in the order of the file parameters, the disk size and the sector size.
using VhdxValues = std::array<std::array<uint8_t, kVhdxItemSize>, 3>;

inline constexpr size_t kVhdxHeaderAreaSize = 320 * 1024;  ///< file identifier, two headers, two region tables
inline constexpr size_t kVhdxMetadataTableSize = 64 * 1024;

/// Picks the valid header of the higher sequence number. `area` is the first 320 KiB of the file. Two headers of one
/// number must be the same (Disk2vhd writes them so). Throws kCorruptImage, kUnsupportedFeature.
VhdxHeader parse_vhdx_header(Bytes area);

/// Reads the region table, or its copy where the first is damaged. Throws kCorruptImage, kUnsupportedFeature (a region
/// marked as required that is not known here).
VhdxRegions parse_vhdx_regions(Bytes area);

/// Reads the table of metadata items. `table` is the region's first 64 KiB, `region_length` its bytes.
/// Throws kCorruptImage, kUnsupportedFeature (an unknown item marked as required).
VhdxItems parse_vhdx_items(Bytes table, uint64_t region_length);

/// Throws kBackingFile (the file has a parent), kCorruptImage, kEmpty, kTooLarge (over `max_virtual_size` bytes).
VhdxParameters parse_vhdx_parameters(const VhdxValues& values, uint64_t max_virtual_size);

}  // namespace dvcr
