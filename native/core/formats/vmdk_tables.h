// The grain directory and grain tables of a VMDK whose map is known before its grains are read, and what of the file
// they take up.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "../image_reader.h"
#include "vmdk_header.h"

namespace dvcr {

/// Parts of the file that are taken by metadata (bytes).
class HostRanges {
 public:
  void add(uint64_t offset, uint64_t length);
  /// Call after the last add(): throws kAlias when two ranges start at one place, kOverlap when they overlap else.
  void seal();
  [[nodiscard]] bool overlaps(uint64_t offset, uint64_t length) const;

 private:
  struct Range {
    uint64_t start;
    uint64_t end;
  };
  std::vector<Range> ranges_;
};

/// One grain table: the sectors where its 512 grains start, 0 for none, kZeroGrain for zeros.
using GrainTable = std::array<uint32_t, kGrainsPerTable>;

class GrainTables {
 public:
  /// Reads the directory that `header` names and its tables, and checks that no grain lies within metadata
  /// (kOverlap). The redundant tables are located but not read. Throws kMetadataLimit, kCorruptImage, kTruncated.
  GrainTables(ImageReader& reader, const VmdkHeader& header);

  /// Table `index`, or null when none of its grains is allocated.
  [[nodiscard]] const GrainTable* table(uint64_t index) const {
    return index < tables_.size() ? tables_[static_cast<size_t>(index)].get() : nullptr;
  }
  /// True for an entry without data of its own.
  [[nodiscard]] bool reads_as_zero(uint32_t entry) const { return entry == 0 || (zero_grains_ && entry == kZeroGrain); }
  [[nodiscard]] const HostRanges& metadata() const { return metadata_; }
  /// Largest n so that every grain starts at a multiple of 2^n bytes; at most the grain's own size.
  [[nodiscard]] unsigned alignment_bits() const { return alignment_bits_; }

 private:
  std::vector<uint32_t> read_directory(uint64_t sector, const char* what);
  void locate(const std::vector<uint32_t>& directory, bool wanted);
  void read_tables(const std::vector<uint32_t>& directory);
  void take(uint64_t index, Bytes raw);
  void check_grains();
  void book(uint64_t bytes);

  ImageReader& reader_;
  const VmdkHeader& header_;
  bool zero_grains_;
  uint64_t booked_ = 0;
  unsigned alignment_bits_ = 0;
  HostRanges metadata_;
  std::vector<std::unique_ptr<GrainTable>> tables_;
};

}  // namespace dvcr
