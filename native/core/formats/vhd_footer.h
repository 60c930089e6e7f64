// The 512-byte footer of a VHD, and its copy at the start of a dynamic one.
#pragma once

#include "bytes.h"

namespace dvcr {

inline constexpr size_t kVhdFooterSize = 512;

enum class VhdType : uint32_t { kFixed = 2, kDynamic = 3, kDifferencing = 4 };

struct VhdFooter {
  VhdType type = VhdType::kFixed;
  uint64_t header_offset = 0;  ///< byte offset of the dynamic header
  uint64_t current_size = 0;   ///< bytes
  uint64_t virtual_size = 0;   ///< bytes a guest sees: current_size or the geometry's, by the writer (see below)
  bool saved_state = false;
};

/// Parses a footer. Layout: Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0.
///
/// Size rule: Virtual PC ("vpc ") and qemu without force_size ("qemu") show a guest cylinders * heads * sectors, unless
/// that is the largest geometry there is; every other writer the size in the footer. qemu takes writers that it does
/// not know by their geometry, which cuts the disks of VirtualBox ("vbox") and Xen Orchestra. Throws kCorruptImage for
/// a wrong cookie, checksum or type, kUnsupportedFeature for another version.
VhdFooter parse_vhd_footer(Bytes footer);

/// True when these last 512 bytes of a file make it a fixed VHD: cookie, checksum and type agree. Never throws.
bool is_vhd_footer(Bytes last512);

/// The checksum of a footer or of a dynamic header: the inverted sum of all bytes but the four at `checksum_at`.
uint32_t vhd_checksum(Bytes bytes, size_t checksum_at);

}  // namespace dvcr
