#include "formats/qcow2_refcounts.h"

#include <algorithm>

namespace dvcr {

void FixedTables::add(uint64_t offset, uint64_t length, const char* name) {
  for (const Range& range : ranges_) {
    if (offset < range.offset + range.length && range.offset < offset + length) {
      throw Error(code::kOverlap, std::string(name) + " at offset " + std::to_string(offset) + " lies on " +
                                      range.name + " at offset " + std::to_string(range.offset));
    }
  }
  ranges_.push_back({offset, length, name});
}

bool FixedTables::contains(uint64_t offset) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [offset](const Range& range) {
    return offset >= range.offset && offset - range.offset < range.length;
  });
}

void FixedTables::refuse_overlap(uint64_t offset, const char* what) const {
  if (!contains(offset) && !std::binary_search(refcount_blocks_.begin(), refcount_blocks_.end(), offset)) return;
  throw Error(code::kOverlap,
              std::string(what) + " at offset " + std::to_string(offset) + " lies on another table of the image");
}

void discard_refcount_blocks(ImageReader& reader, const Qcow2Header& header, FixedTables& fixed,
                             ClusterClaims& claims) {
  std::vector<uint8_t> table(header.refcount_length);
  reader.read_metadata_at(header.refcount_offset, table, "the refcount table");
  std::vector<uint64_t> blocks;
  for (uint64_t at = 0; at < table.size(); at += 8) {
    uint64_t block = be64(table, at);
    bool sensible = block != 0 && block % header.cluster_size() == 0 && block >> 56 == 0 && !fixed.contains(block);
    if (sensible) blocks.push_back(block);
  }
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  for (uint64_t block : blocks) {
    claims.claim(block, header.cluster_size(), Use::kMetadata);
    reader.discard(block, header.cluster_size());
  }
  fixed.set_refcount_blocks(std::move(blocks));
}

}  // namespace dvcr
