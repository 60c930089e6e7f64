// Compressed grains and the markers in front of them (VMware "Virtual Disk Format 5.0", "Stream-Optimized Compressed
// Sparse Extents"): {number u64, size u32, zlib data} for a grain, {sectors u64, 0 u32, type u32} for metadata, each
// filled up to whole sectors.
#pragma once

#include <array>

#include "../extent_sink.h"
#include "../image_reader.h"
#include "vmdk_header.h"

namespace dvcr {

enum class MarkerType : uint32_t { kEndOfStream = 0, kGrainTable = 1, kGrainDirectory = 2, kFooter = 3 };

struct VmdkMarker {
  uint64_t number = 0;  ///< a grain's first guest sector, or the sectors of metadata that follow
  uint32_t size = 0;    ///< bytes of packed data; 0 marks metadata
  uint32_t type = 0;    ///< a MarkerType, when size is 0
};

/// Reads markers and hands packed grains to the sink, one after the other.
class VmdkGrains {
 public:
  VmdkGrains(ImageReader& reader, const VmdkHeader& header, ExtentSink& sink)
      : reader_(reader), header_(header), sink_(sink) {}

  /// Reads the marker at byte `offset`. Throws kTruncated; kCorruptImage when a grain's size is more than two grains
  /// or metadata's sector holds more than the marker.
  VmdkMarker read_marker(uint64_t offset);
  /// The sector that was read last, as far as the file reaches.
  [[nodiscard]] Bytes sector() const { return Bytes(sector_).first(filled_); }
  /// Reads the sector at byte `offset`; true where it is a marker of metadata other than the end of the stream.
  bool read_metadata_marker(uint64_t offset, VmdkMarker& marker);
  /// Emits the grain whose marker was read last, as the disk's next `guest_size` bytes. Throws kTruncated.
  void emit(size_t guest_size);
  /// Bytes that the grain whose marker was read last takes up in the file, in whole sectors.
  [[nodiscard]] uint64_t stored_bytes() const;

 private:
  ImageReader& reader_;
  const VmdkHeader& header_;
  ExtentSink& sink_;
  uint64_t offset_ = 0;
  VmdkMarker marker_;
  // Read sector by sector: the padding after a grain then never looks like something skipped that must be held.
  std::array<uint8_t, kSector> sector_{};
  size_t filled_ = 0;
};

/// Adjoining zeros, emitted as one extent.
class ZeroRun {
 public:
  explicit ZeroRun(ExtentSink& sink) : sink_(sink) {}
  void add(uint64_t length) { length_ += length; }
  void flush() {
    if (length_ > 0) sink_.zero(length_);
    length_ = 0;
  }

 private:
  ExtentSink& sink_;
  uint64_t length_ = 0;
};

}  // namespace dvcr
