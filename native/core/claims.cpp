#include "claims.h"

#include <algorithm>
#include <iterator>

namespace dvcr {

namespace {

const char* name_of(Use use) {
  switch (use) {
    case Use::kMetadata:
      return "metadata";
    case Use::kData:
      return "data";
    case Use::kShared:
      return "compressed data";
    case Use::kFree:
      break;
  }
  return "nothing";
}

// What a red-black tree node of ByteClaims costs with its allocation.
constexpr uint64_t kRangeBytes = 64;
// A page of ClusterClaims also has a hash node.
constexpr uint64_t kPageOverhead = 64;

}  // namespace

ClusterClaims::Page& ClusterClaims::page_at(uint64_t index) {
  if (last_page_ != nullptr && last_index_ == index) return *last_page_;
  auto found = pages_.find(index);
  if (found == pages_.end()) {
    if ((pages_.size() + 1) * (kPageBytes + kPageOverhead) > max_bytes_) {
      throw Error(code::kMetadataLimit,
                  "the image's clusters lie too far apart: the list of those in use would pass the limit of " +
                      std::to_string(max_bytes_) + " bytes");
    }
    found = pages_.emplace(index, std::make_unique<Page>()).first;
  }
  last_index_ = index;
  last_page_ = found->second.get();
  return *last_page_;
}

void ClusterClaims::claim(uint64_t offset, uint64_t length, Use use) {
  if (length == 0) return;
  uint64_t last = checked_add(offset, length - 1, "an offset") >> cluster_bits_;
  for (uint64_t cluster = offset >> cluster_bits_; cluster <= last; ++cluster) {
    uint8_t& byte = page_at(cluster / kClustersPerPage)[cluster % kClustersPerPage / 4];
    unsigned shift = static_cast<unsigned>(cluster % 4) * 2;
    Use held = static_cast<Use>(byte >> shift & 3);
    if (held == Use::kFree) {
      byte = static_cast<uint8_t>(byte | static_cast<unsigned>(use) << shift);
    } else if (held != use) {
      throw Error(code::kOverlap, "the place at offset " + std::to_string(cluster << cluster_bits_) + " is used as " +
                                      name_of(held) + " and as " + name_of(use));
    } else if (use != Use::kShared) {
      throw Error(code::kAlias, "the place at offset " + std::to_string(cluster << cluster_bits_) +
                                    " is used twice as " + name_of(use));
    }
  }
}

Use ClusterClaims::use_of(uint64_t offset) const {
  uint64_t cluster = offset >> cluster_bits_;
  auto found = pages_.find(cluster / kClustersPerPage);
  if (found == pages_.end()) return Use::kFree;
  return static_cast<Use>((*found->second)[cluster % kClustersPerPage / 4] >> cluster % 4 * 2 & 3);
}

void ByteClaims::claim(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  uint64_t end = checked_add(offset, length, "an offset");
  std::lock_guard lock(mutex_);
  auto after = ranges_.lower_bound(offset);
  auto before = after == ranges_.begin() ? ranges_.end() : std::prev(after);
  if ((after != ranges_.end() && after->first < end) || (before != ranges_.end() && before->second > offset)) {
    throw Error(code::kAlias, "the compressed data at offset " + std::to_string(offset) + " of " +
                                  std::to_string(length) + " bytes overlaps with that of another cluster");
  }
  bool joins_before = before != ranges_.end() && before->second == offset;
  bool joins_after = after != ranges_.end() && after->first == end;
  if (joins_after) {
    end = after->second;
    ranges_.erase(after);
  }
  if (joins_before) {
    before->second = end;
    return;
  }
  if ((ranges_.size() + 1) * kRangeBytes > max_bytes_) {
    throw Error(code::kMetadataLimit,
                "the compressed clusters are scattered over more than " + std::to_string(ranges_.size()) + " places");
  }
  ranges_.emplace(offset, end);
}

bool ByteClaims::covers(uint64_t offset, Bytes bytes) const {
  uint64_t at = offset;
  uint64_t end = offset + bytes.size();
  std::lock_guard lock(mutex_);
  auto range = ranges_.upper_bound(at);
  if (range != ranges_.begin()) --range;
  while (at < end) {
    if (range != ranges_.end() && range->second <= at) {
      ++range;
      continue;
    }
    uint64_t gap_end = range == ranges_.end() ? end : std::clamp(range->first, at, end);
    if (!is_zero(slice(bytes, at - offset, gap_end - at))) return false;
    at = range == ranges_.end() ? end : std::max(range->second, gap_end);
  }
  return true;
}

}  // namespace dvcr
