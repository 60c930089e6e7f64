// Who uses which part of the host file. No legitimate image uses one place twice, and an image that does is
// an expansion bomb or a trap for parsers (E_ALIAS, E_OVERLAP).
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "bytes.h"

namespace dvcr {

enum class Use : uint8_t { kFree = 0, kMetadata = 1, kData = 2, kShared = 3 };

/// Two bits per host cluster. Grows with the clusters that are really claimed in order of arrival, up to the
/// metadata limit. Claim only what has arrived (so a hostile offset cannot size it).
class ClusterClaims {
 public:
  ClusterClaims(unsigned cluster_bits, uint64_t max_bytes) : cluster_bits_(cluster_bits), max_bytes_(max_bytes) {}
  /// Claims every cluster that [offset, offset+length) touches. kShared may be claimed again as kShared.
  /// Throws kAlias (same use twice), kOverlap (two different uses), kMetadataLimit.
  void claim(uint64_t offset, uint64_t length, Use use);
  [[nodiscard]] Use use_of(uint64_t offset) const;

 private:
  unsigned cluster_bits_;
  uint64_t max_bytes_;
  std::vector<uint8_t> map_;
};

/// Byte-exact claims for compressed units, which may share a host cluster but not bytes. Thread-safe.
/// Neighbouring claims merge, so packed units cost next to nothing.
class ByteClaims {
 public:
  explicit ByteClaims(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  /// Throws kAlias when a byte is claimed already, kMetadataLimit when there are too many gaps.
  void claim(uint64_t offset, uint64_t length);

 private:
  std::mutex mutex_;
  uint64_t max_bytes_;
  std::map<uint64_t, uint64_t> ranges_;  // start -> end
};

}  // namespace dvcr
