// The header of a qcow2 image, version 2 or 3 (qemu's docs/interop/qcow2.txt).
#pragma once

#include "disk_image.h"

namespace dvcr {

struct Qcow2Header {
  unsigned version = 0;
  unsigned cluster_bits = 0;
  uint64_t virtual_size = 0;     ///< bytes
  uint64_t l1_offset = 0;        ///< bytes
  uint64_t l1_entries = 0;       ///< at least l1_needed()
  uint64_t refcount_offset = 0;  ///< bytes
  uint64_t refcount_length = 0;  ///< bytes
  unsigned refcount_order = 4;
  uint64_t snapshots = 0;
  UnitCodec codec = UnitCodec::kDeflate;
  bool extended_l2 = false;
  bool dirty = false;
  bool lazy_refcounts = false;
  uint64_t bitmaps = 0;                  ///< persistent bitmaps of changed blocks
  uint64_t bitmap_directory_offset = 0;  ///< bytes
  uint64_t bitmap_directory_size = 0;    ///< bytes

  [[nodiscard]] uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  [[nodiscard]] uint64_t entry_size() const { return extended_l2 ? 16 : 8; }
  [[nodiscard]] uint64_t entries_per_table() const { return cluster_size() / entry_size(); }
  /// Guest bytes below one L2 table.
  [[nodiscard]] uint64_t table_coverage() const { return entries_per_table() << cluster_bits; }
  /// L1 entries that the virtual size needs.
  [[nodiscard]] uint64_t l1_needed() const { return div_ceil(virtual_size, table_coverage()); }
};

/// Reads the header and its extensions, up to one cluster, and nothing else. Throws kBackingFile, kExternalData,
/// kEncrypted, kUnsupportedFormat (version), kUnsupportedFeature, kCorruptImage, kEmpty, kTooLarge, kTruncated.
Qcow2Header read_qcow2_header(ImageReader& reader);

/// What `inspect` says of it, by qemu-img's names. Bitmaps are listed where their directory can be read at its place:
/// `file` is null where it cannot. They say nothing of the disk's content, so a damaged directory is a warning.
DiskInfo describe_qcow2(const Qcow2Header& header, RangeReader* file);

}  // namespace dvcr
