#include "tar_members.h"

#include <algorithm>

#include "import_limits.h"

namespace dvcr {
namespace {

// One header with all its extensions and its sparse map. The archive library holds the map, an entry in about ten times
// the bytes it has in the tar.
constexpr uint64_t kMaxHeaderBytes = 8 * kMiB;
constexpr size_t kZeros = 256 * kKiB;

}  // namespace

Bytes TarMembers::Counted::next() {
  if (in_call_ > kMaxHeaderBytes) {
    throw Error(code::kMetadataLimit,
                "a header of the archive is longer than " + std::to_string(kMaxHeaderBytes) + " bytes");
  }
  Bytes bytes = blocks_.next();
  in_call_ += bytes.size();
  return bytes;
}

TarMembers::TarMembers(TarBlocks& blocks, uint64_t max_members)
    : blocks_(blocks), tar_(blocks_, max_members), zeros_(kZeros) {}

std::optional<TarMember> TarMembers::next() {
  if (at_end_) return std::nullopt;
  // Where the reader may skip, what is left of the member costs nothing; else it is read piece by piece, as it would
  // count as a header.
  piece_.reset();
  while (!ended_ && !blocks_.can_skip()) {
    blocks_.begin_call();
    ended_ = !tar_.piece();
  }
  blocks_.begin_call();
  std::optional<TarMember> member = tar_.next();
  left_ = member ? member->size : 0;
  size_ = left_;
  ended_ = at_end_ = !member;
  return member;
}

/// Zeros from the next byte up to the next piece, in bytes.
uint64_t TarMembers::hole() const {
  uint64_t at = size_ - left_;
  return (piece_ ? piece_->offset : size_) - at;
}

Bytes TarMembers::peek() {
  if (left_ == 0) return {};
  if (!piece_) next_piece();
  if (uint64_t zeros = hole(); zeros > 0) {
    return Bytes(zeros_).first(static_cast<size_t>(std::min<uint64_t>(zeros_.size(), zeros)));
  }
  return piece_->bytes;
}

void TarMembers::consume(size_t count) {
  uint64_t at = size_ - left_;
  left_ -= count;
  if (!piece_ || at < piece_->offset) return;
  piece_->bytes = piece_->bytes.subspan(count);
  piece_->offset += count;
  if (piece_->bytes.empty()) piece_.reset();
}

uint64_t TarMembers::skip_hole() {
  if (left_ == 0) return 0;
  if (!piece_) next_piece();
  uint64_t zeros = hole();
  left_ -= zeros;
  return zeros;
}

void TarMembers::next_piece() {
  if (ended_) return;
  blocks_.begin_call();
  piece_ = tar_.piece();
  ended_ = !piece_;
  if (ended_) return;
  uint64_t at = size_ - left_;
  if (piece_->offset < at || piece_->offset > size_ || piece_->bytes.size() > size_ - piece_->offset) {
    throw Error(code::kCorruptArchive, "a sparse member has data at byte " + std::to_string(piece_->offset) +
                                           ", out of order or behind its end at byte " + std::to_string(size_));
  }
}

Bytes StreamBlocks::next() {
  source_.consume(given_);
  given_ = 0;
  Bytes bytes = source_.peek();
  given_ = bytes.size();
  return bytes;
}

}  // namespace dvcr
