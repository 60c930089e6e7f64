// CRC-32C (Castagnoli), the checksum of VHDX.
#pragma once

#include <isa-l/crc.h>

#include <algorithm>

#include "bytes.h"

namespace dvcr {

/// CRC-32C in pieces: value() is that of all bytes added so far.
class Crc32c {
 public:
  void add(Bytes bytes) {
    constexpr size_t kMost = size_t{1} << 30;  // ISA-L counts in int
    while (!bytes.empty()) {
      const size_t take = std::min(bytes.size(), kMost);
      // ISA-L's signature lacks a const; it only reads.
      state_ = crc32_iscsi(const_cast<uint8_t*>(bytes.data()), static_cast<int>(take), state_);
      bytes = bytes.subspan(take);
    }
  }
  [[nodiscard]] uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = UINT32_MAX;
};

/// True when `bytes` carry their own CRC-32C, little-endian at `at`, taken with those four bytes as zeros.
inline bool carries_crc32c(Bytes bytes, size_t at) {
  constexpr uint8_t kBlank[4] = {};
  Crc32c crc;
  crc.add(slice(bytes, 0, at));
  crc.add(kBlank);
  crc.add(slice(bytes, at + 4, bytes.size() - at - 4));
  return crc.value() == le32(bytes, at);
}

}  // namespace dvcr
