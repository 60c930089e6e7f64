#include "image_reader.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "hash.h"

namespace dvcr {

namespace {

/// Tables nearer than this are read by going there: a request of their own would take longer.
constexpr uint64_t kRangeDistance = kMiB;

[[noreturn]] void throw_truncated(uint64_t offset, uint64_t length, uint64_t end, const char* what) {
  throw Error(code::kTruncated, std::string(what) + " at offset " + std::to_string(offset) + " of " +
                                    std::to_string(length) + " bytes is missing: the file ends at " +
                                    std::to_string(end));
}

/// The limit of discarded ranges: a quarter of what metadata may take.
constexpr uint64_t kDiscardBytes = 4 * 64;

/// The limit of pieces read by range that the stream has not confirmed yet: half of it.
constexpr uint64_t kPrefetchedBytes = 2 * 256;

/// What the list of held bytes may take: all of scratch where they stand close together, and where they are scattered
/// as much more as tables may take.
uint64_t index_limit(const Limits& limits) {
  return limits.max_metadata + HeldBytes::index_bytes(limits.max_scratch);
}

constexpr std::string_view kCompareBy = "sha256";

}  // namespace

/// A piece that was read by range, as a digest: the pieces themselves may be large.
struct ImageReader::Prefetched {
  uint64_t end;
  std::string expected;
  std::optional<Digest> seen;
};

ImageReader::ImageReader(ByteSource& source, const Limits& limits, ScratchBudget& budget, std::string scratch_directory)
    : source_(source),
      limits_(limits),
      held_(
          std::make_unique<HeldBytes>(limits.hold_window, index_limit(limits), budget, std::move(scratch_directory))) {}

ImageReader::~ImageReader() = default;

void ImageReader::skip_held(uint64_t end) {
  std::array<uint8_t, HeldBytes::kPage> staging;
  while (position_ < end) {
    uint64_t page_end = (position_ / HeldBytes::kPage + 1) * HeldBytes::kPage;
    auto least = static_cast<size_t>(std::min(end, page_end) - position_);
    Bytes view = source_.peek();
    size_t used = least;
    if (view.size() >= least) {
      // Whole pages and, at the end, what is asked for: a page cut by the source's chunks waits for its rest.
      used = static_cast<size_t>(std::min<uint64_t>(end - position_, view.size()));
      if (position_ + used != end) used -= static_cast<size_t>((position_ + used) % HeldBytes::kPage);
      held_->store(position_, view.first(used));
      advance(view.first(used));
      source_.consume(used);
    } else {
      used = source_.read(MutableBytes(staging).first(least));
      held_->store(position_, Bytes(staging).first(used));
      advance(Bytes(staging).first(used));
    }
    if (used < least) return;
  }
}

void ImageReader::skip_discarded(uint64_t end) {
  while (position_ < end) {
    Bytes view = source_.peek();
    if (view.empty()) return;
    auto used = static_cast<size_t>(std::min<uint64_t>(end - position_, view.size()));
    advance(view.first(used));
    source_.consume(used);
  }
}

void ImageReader::advance(Bytes passed) {
  if (!prefetched_.empty()) compare_prefetched(passed);
  position_ += passed.size();
}

void ImageReader::compare_prefetched(Bytes passed) {
  uint64_t end = position_ + passed.size();
  for (auto piece = prefetched_.begin(); piece != prefetched_.end() && piece->first < end;) {
    Prefetched& item = piece->second;
    if (!item.seen) item.seen.emplace(kCompareBy);
    uint64_t from = std::max(piece->first, position_);
    item.seen->update(slice(passed, from - position_, std::min(item.end, end) - from));
    if (item.end > end) {
      ++piece;
      continue;
    }
    if (item.seen->finish() != item.expected) {
      throw Error(code::kSourceIo, "the source gave different bytes for offset " + std::to_string(piece->first) +
                                       " when it was asked twice: it changed meanwhile");
    }
    piece = prefetched_.erase(piece);
  }
}

bool ImageReader::skip_to(uint64_t offset) {
  while (position_ < offset) {
    auto discard = discards_.begin();
    while (discard != discards_.end() && discard->second <= position_) discard = discards_.erase(discard);
    uint64_t before = position_;
    if (discard != discards_.end() && discard->first <= position_) {
      skip_discarded(std::min(offset, discard->second));
    } else {
      skip_held(discard == discards_.end() ? offset : std::min(offset, discard->first));
    }
    if (position_ == before) return false;
  }
  return true;
}

size_t ImageReader::read_some_at(uint64_t offset, MutableBytes out) {
  size_t done = 0;
  if (offset < position_) {
    done = static_cast<size_t>(std::min<uint64_t>(out.size(), position_ - offset));
    held_->take(offset, out.first(done));
  } else if (!skip_to(offset)) {
    return 0;
  }
  if (done == out.size()) return done;
  size_t direct = source_.read(out.subspan(done));
  advance(out.subspan(done, direct));
  return done + direct;
}

void ImageReader::read_at(uint64_t offset, MutableBytes out, const char* what) {
  std::optional<uint64_t> total = size();
  if (total && (offset > *total || out.size() > *total - offset)) throw_truncated(offset, out.size(), *total, what);
  if (read_some_at(offset, out) < out.size()) throw_truncated(offset, out.size(), position_, what);
}

void ImageReader::read_metadata_at(uint64_t offset, MutableBytes out, const char* what) {
  RangeReader* ranges = source_.ranges();
  const bool near = offset < position_ || offset - position_ < kRangeDistance;
  if (ranges == nullptr || near || prefetched_.size() >= limits_.max_metadata / kPrefetchedBytes) {
    read_at(offset, out, what);
    return;
  }
  uint64_t total = ranges->size();
  if (offset > total || out.size() > total - offset) throw_truncated(offset, out.size(), total, what);
  if (!ranges->read_at(offset, out)) {
    read_at(offset, out, what);
    return;
  }
  if (out.empty()) return;
  Digest digest(kCompareBy);
  digest.update(out);
  prefetched_.emplace(offset, Prefetched{offset + out.size(), digest.finish(), std::nullopt});
  discard(offset, out.size());
}

void ImageReader::put_back(uint64_t offset, Bytes bytes) {
  held_->store(offset, bytes);
}

void ImageReader::discard(uint64_t offset, uint64_t length) {
  uint64_t end = offset > UINT64_MAX - length ? UINT64_MAX : offset + length;
  if (end <= position_ || length == 0) return;
  if (discards_.size() >= limits_.max_metadata / kDiscardBytes) return;
  auto next = discards_.upper_bound(offset);
  if (next != discards_.begin() && std::prev(next)->second >= offset) {
    --next;
    offset = next->first;
  }
  while (next != discards_.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = discards_.erase(next);
  }
  discards_.emplace(offset, end);
}

uint64_t ImageReader::drain() {
  skip_discarded(UINT64_MAX);
  return position_;
}

}  // namespace dvcr
