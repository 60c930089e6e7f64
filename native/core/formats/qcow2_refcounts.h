// The tables of a qcow2 image whose places its header fixes, and the refcount blocks, which nobody reads.
#pragma once

#include <vector>

#include "formats/qcow2_header.h"

namespace dvcr {

/// Places that no L2 table may lie on. Where two tables share clusters one does not merely alias the other, so this
/// is told apart from two L1 entries with one L2 table.
class FixedTables {
 public:
  struct Range {
    uint64_t offset;
    uint64_t length;
    const char* name;
  };
  /// Throws kOverlap when the range touches another one.
  void add(uint64_t offset, uint64_t length, const char* name);
  /// `clusters` are the offsets of refcount blocks, sorted.
  void set_refcount_blocks(std::vector<uint64_t> offsets) { refcount_blocks_ = std::move(offsets); }
  /// Throws kOverlap when the cluster at `offset` belongs to one of them.
  void refuse_overlap(uint64_t offset, const char* what) const;
  [[nodiscard]] bool contains(uint64_t offset) const;
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
  std::vector<uint64_t> refcount_blocks_;
};

/// Reads the refcount table, claims the blocks that it names and lets them pass without being held. Entries that make
/// no sense are ignored: refcounts are not needed for reading. Throws kTruncated, kMetadataLimit.
void discard_refcount_blocks(ImageReader& reader, const Qcow2Header& header, FixedTables& fixed, ClusterClaims& claims);

}  // namespace dvcr
