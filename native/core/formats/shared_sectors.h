// Packed units stand next to each other without regard to sectors, and may be wanted in any order.
#pragma once

#include <array>
#include <unordered_map>

#include "image_reader.h"

namespace dvcr {

/// Reads byte-packed units by whole sectors and keeps a copy of the sectors at their edges, which may hold parts of
/// other units, until all of those were claimed.
class SharedSectors {
 public:
  /// `claims` tells which bytes have been used by units that were decoded.
  SharedSectors(ImageReader& reader, const ByteClaims& claims) : reader_(reader), claims_(claims) {}
  /// Fills `out` from `offset`, where offset + out.size() is a multiple of 512, and returns how many bytes the stream
  /// has there.
  size_t read(uint64_t offset, MutableBytes out);

 private:
  static constexpr uint64_t kSector = 512;
  struct Sector {
    std::array<uint8_t, kSector> bytes;
    size_t size;  // less only at the end of the stream
  };
  [[nodiscard]] Bytes edge(uint64_t index);
  void remember(uint64_t index, Bytes bytes);
  void sweep();

  ImageReader& reader_;
  const ByteClaims& claims_;
  std::unordered_map<uint64_t, Sector> sectors_;
  size_t sweep_at_ = 1024;
};

}  // namespace dvcr
