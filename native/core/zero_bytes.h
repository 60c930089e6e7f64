// Zeros that cost no memory: pages only ever read are the kernel's one zero page.
#pragma once

#include <algorithm>

#include "bytes.h"

namespace dvcr {

class ZeroMapping {
 public:
  /// `size` bytes of zeros.
  explicit ZeroMapping(size_t size);
  ~ZeroMapping();
  ZeroMapping(const ZeroMapping&) = delete;
  ZeroMapping& operator=(const ZeroMapping&) = delete;
  [[nodiscard]] Bytes bytes() const { return {static_cast<const uint8_t*>(address_), size_}; }

 private:
  size_t size_;
  void* address_;
};

/// A buffer of zeros for digests and for outputs that take them as bytes (256 KiB, page-aligned).
Bytes zero_bytes();

/// A piece of a run of `left` zeros: as many of them as there are here.
inline Bytes zero_bytes(uint64_t left) {
  const Bytes all = zero_bytes();
  return all.first(static_cast<size_t>(std::min<uint64_t>(left, all.size())));
}

}  // namespace dvcr
