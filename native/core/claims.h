// Who uses which part of the host file. No legitimate image uses one place twice, and an image that does is
// an expansion bomb or a trap for parsers (E_ALIAS, E_OVERLAP).
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "bytes.h"

namespace dvcr {

enum class Use : uint8_t { kFree = 0, kMetadata = 1, kData = 2, kShared = 3 };

/// Two bits per host cluster, in pages that are made where something is claimed: a hostile offset costs one page,
/// and all pages together at most the metadata limit. Not thread-safe.
class ClusterClaims {
 public:
  ClusterClaims(unsigned cluster_bits, uint64_t max_bytes) : cluster_bits_(cluster_bits), max_bytes_(max_bytes) {}
  /// Claims every cluster that [offset, offset+length) touches. kShared may be claimed again as kShared.
  /// Throws kAlias (same use twice), kOverlap (two different uses), kMetadataLimit.
  void claim(uint64_t offset, uint64_t length, Use use);
  [[nodiscard]] Use use_of(uint64_t offset) const;

 private:
  static constexpr uint64_t kPageBytes = 4096;
  static constexpr uint64_t kClustersPerPage = kPageBytes * 4;
  using Page = std::array<uint8_t, kPageBytes>;
  Page& page_at(uint64_t index);

  unsigned cluster_bits_;
  uint64_t max_bytes_;
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
  uint64_t last_index_ = 0;
  Page* last_page_ = nullptr;  // of last_index_: claims come in runs
};

/// Byte-exact claims for compressed units, which may share a host cluster but not bytes. Thread-safe.
/// Neighbouring claims merge, so packed units cost next to nothing.
class ByteClaims {
 public:
  explicit ByteClaims(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  /// Throws kAlias when a byte is claimed already, kMetadataLimit when there are too many gaps.
  void claim(uint64_t offset, uint64_t length);
  /// True when each byte of `bytes`, which stand at `offset`, is claimed or zero.
  [[nodiscard]] bool covers(uint64_t offset, Bytes bytes) const;

 private:
  mutable std::mutex mutex_;
  uint64_t max_bytes_;
  std::map<uint64_t, uint64_t> ranges_;  // start -> end
};

}  // namespace dvcr
