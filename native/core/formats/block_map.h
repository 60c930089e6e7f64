// What VDI, VHD and VHDX have in common: blocks of one size, and one table that says where each stands in the file.
#pragma once

#include <functional>
#include <vector>

#include "extent_sink.h"
#include "image_reader.h"

namespace dvcr {

/// A table entry for a block that takes no room in the file and reads as zeros.
inline constexpr uint32_t kNoBlock = UINT32_MAX;

/// A part of the host file, in bytes.
struct HostRange {
  uint64_t offset = 0;
  uint64_t length = 0;
  [[nodiscard]] uint64_t end() const { return checked_add(offset, length, "the end of a table"); }
};

/// How a format turns a table entry into a place in the file. All values in bytes.
struct BlockGeometry {
  uint64_t origin = 0;      ///< host offset of place 0
  uint64_t unit = 1;        ///< distance from one place to the next
  uint64_t lead = 0;        ///< what stands before the data of each block: sector bitmap, extra data
  uint64_t block_size = 0;  ///< guest bytes of each block
  [[nodiscard]] uint64_t lead_at(uint32_t place) const { return origin + place * unit; }
  [[nodiscard]] uint64_t data_at(uint32_t place) const { return lead_at(place) + lead; }
};

/// Checks that a table of `entries` entries fits the budget, before anything is allocated for it.
/// Throws kMetadataLimit.
void check_map_budget(uint64_t entries, const Limits& limits);

/// Reads a table of `length` bytes in pieces, each a multiple of 8 bytes except perhaps the last, and gives every piece
/// to `take` with its offset in the table. Throws kTruncated naming `what`.
void for_each_piece(ImageReader& reader, uint64_t host_offset, uint64_t length, const char* what,
                    const std::function<void(uint64_t at, MutableBytes piece)>& take);

/// Checks that no two tables share bytes, no two blocks share bytes and no block touches a table.
/// Done before the first byte of data is read, so a bomb costs nothing. Throws kAlias (two blocks at one place),
/// kOverlap.
void check_layout(const std::vector<uint32_t>& places, const BlockGeometry& geometry, std::vector<HostRange> tables);

/// Gives blocks to a sink in guest order: neighbours in the file are read together, up to 1 MiB at once and straight
/// into the sink's room; zeros are joined. Everything past the end of the disk is left out.
class BlockCopier {
 public:
  /// Changes bytes that were just read from a host offset (a replayed log).
  using Patch = std::function<void(uint64_t host_offset, MutableBytes bytes)>;

  BlockCopier(ImageReader& reader, ExtentSink& sink, uint64_t disk_size, Patch patch = {})
      : reader_(reader), sink_(sink), disk_size_(disk_size), patch_(std::move(patch)) {}

  /// The next `length` guest bytes stand at `host_offset`. Throws kTruncated naming the guest offset.
  void data(uint64_t host_offset, uint64_t length);
  /// The next `length` guest bytes are zeros.
  void zero(uint64_t length);
  /// Gives out what is still pending. Call once, after the last extent.
  void finish();
  /// Guest offset of the next byte.
  [[nodiscard]] uint64_t position() const { return position_; }

 private:
  uint64_t clip(uint64_t length) const;
  void flush_data();
  void flush_zeros();

  ImageReader& reader_;
  ExtentSink& sink_;
  uint64_t disk_size_;
  Patch patch_;
  uint64_t position_ = 0;
  HostRange run_;          // pending data: ends at position_
  uint64_t zero_run_ = 0;  // pending zeros: end at position_
};

}  // namespace dvcr
