// The text descriptor of a VMDK (VMware "Virtual Disk Format 5.0", section "The Virtual Disk Descriptor"): embedded
// in a sparse extent, or a file of its own that names the files with the data. Every line must be understood; a
// descriptor that two readers could read differently is refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vmdk_text.h"

namespace dvcr {

/// parentCID of a disk without a parent.
inline constexpr uint32_t kVmdkNoParent = 0xffffffff;

/// One line of the extent section: `ACCESS SECTORS TYPE ["NAME" [OFFSET]]`.
struct VmdkExtentLine {
  std::string access;  ///< RW, RDONLY or NOACCESS
  uint64_t sectors = 0;
  std::string type;  ///< FLAT, SPARSE, ZERO, VMFS, VMFSSPARSE, VMFSRDM, VMFSRAW, SESPARSE
  std::string name;  ///< as written; never opened. Empty for ZERO
};

struct VmdkDescriptor {
  std::string create_type;
  uint32_t cid = 0;
  uint32_t parent_cid = kVmdkNoParent;
  std::string parent_hint;  ///< parentFileNameHint; never opened
  std::string encoding;     ///< of names and comments, empty where none is named
  std::vector<VmdkExtentLine> extents;
};

/// True when `head` is the beginning of a descriptor file: its title comment, or comments and blank lines followed by
/// `version=` (the rule that qemu uses as well).
bool is_vmdk_descriptor(Bytes head);

/// Parses the whole descriptor up to the first zero byte. Letters beyond ASCII may stand in comments, values and names:
/// as UTF-8, or as bytes of another encoding that extends ASCII and is declared. Throws like vmdk_text(), and
/// kCorruptImage for other bytes from 0x80 on, a tab or carriage return in a value, a line outside of the grammar, a
/// key given twice, a missing createType; kMetadataLimit for more than 4096 extent lines.
VmdkDescriptor parse_vmdk_descriptor(Bytes bytes);

/// Refuses what a descriptor cannot give us in one file: a parent (kBackingFile), flat, raw-device and VMFS extents
/// (kExternalData), split disks (kMultiFile), delta formats (kUnsupportedFormat). Returns when createType is
/// monolithicSparse or streamOptimized.
void refuse_unless_one_file(const VmdkDescriptor& descriptor);

}  // namespace dvcr
