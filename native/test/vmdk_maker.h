// Writes VMDK files as VMware's tools do, which qemu-img cannot: redundant tables, several versions, and
// streamOptimized with markers and a footer. The places of all parts are given, so that a test can damage one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"

namespace dvcr::test {

struct VmdkSpec {
  uint32_t version = 1;
  uint64_t grain_sectors = 128;
  std::string descriptor = {};       ///< instead of the one made for the kind
  std::vector<uint64_t> order = {};  ///< the disk's grains as they follow in the file; empty: ascending
  bool redundant = true;             ///< monolithicSparse: with a second set of tables in front of the first
  bool zero_grains = false;          ///< zeros get the table entry 1 instead of 0
  bool short_last = true;            ///< streamOptimized: the last grain is packed without padding
  bool late_tables = false;          ///< streamOptimized: all grain tables after all grains
};

struct VmdkFile {
  std::vector<uint8_t> bytes;
  std::vector<size_t> grains;  ///< byte offsets of grains (of their markers), in file order
  std::vector<size_t> tables;  ///< byte offsets of grain tables, in guest order
  size_t directory = 0;        ///< byte offset of the grain directory
  size_t footer = 0;           ///< byte offset of the footer
  size_t end = 0;              ///< byte offset of the end marker
};

/// A descriptor as VMware writes it; `extents` are its extent lines.
std::string vmdk_descriptor(std::string_view create_type, const std::vector<std::string>& extents,
                            std::string_view parent_cid = "ffffffff");
std::string sparse_extent(uint64_t sectors);

/// monolithicSparse: header, descriptor, (redundant) tables, grains.
VmdkFile make_sparse_vmdk(Bytes disk, const VmdkSpec& spec = {});
/// streamOptimized with the tables in front, as qemu and open-vmdk write it.
VmdkFile make_front_vmdk(Bytes disk, const VmdkSpec& spec = {});
/// streamOptimized as VMware, ovftool and VirtualBox write it: grains, a table after the last of its grains, the
/// directory, a footer and an end marker.
VmdkFile make_stream_vmdk(Bytes disk, const VmdkSpec& spec = {});

/// streamOptimized as Xen Orchestra writes it: all tables behind one marker without a length, `padding` sectors of
/// zeros before it, and with `twice` a redundant set of tables and directory before the one that counts.
VmdkFile make_orchestra_vmdk(Bytes disk, size_t padding, bool twice);

}  // namespace dvcr::test
