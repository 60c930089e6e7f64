// The members of a tar as streams, one after the other, with the holes of sparse ones filled in.
#pragma once

#include <optional>
#include <vector>

#include "byte_source.h"
#include "tar_reader.h"

namespace dvcr {

/// The next member of a tar, then its bytes as a stream of exactly known size. GNU and PAX sparse members have their
/// holes filled with zeros.
class TarMembers final : public ByteSource {
 public:
  /// `blocks` must be at the first byte of the tar and outlive this. More than `max_members` are kMetadataLimit.
  TarMembers(TarBlocks& blocks, uint64_t max_members);

  /// Goes to the next member, past what is left of this one; nothing at the end. Throws what TarReader throws, and
  /// kMetadataLimit for a header of more than 8 MiB with all its extensions and its sparse map.
  std::optional<TarMember> next();
  /// Bytes that follow the end of the tar and are no further members; known once next() returned nothing.
  [[nodiscard]] uint64_t trailing() const { return tar_.trailing(); }

  /// Throws what TarReader throws; kCorruptArchive for a sparse map out of order.
  Bytes peek() override;
  void consume(size_t count) override;
  uint64_t skip_hole() override;
  /// Exact size of the member in bytes.
  [[nodiscard]] std::optional<uint64_t> size() const override { return size_; }

 private:
  /// Counts what one call of the tar reader takes: the archive library holds a whole header with its sparse map.
  class Counted final : public TarBlocks {
   public:
    explicit Counted(TarBlocks& blocks) : blocks_(blocks) {}
    void begin_call() override { in_call_ = 0; }
    Bytes next() override;
    uint64_t skip(uint64_t length) override { return blocks_.skip(length); }
    [[nodiscard]] bool can_skip() const override { return blocks_.can_skip(); }

   private:
    TarBlocks& blocks_;
    uint64_t in_call_ = 0;
  };
  void next_piece();
  [[nodiscard]] uint64_t hole() const;

  Counted blocks_;
  TarReader tar_;
  std::vector<uint8_t> zeros_;
  std::optional<TarPiece> piece_;
  uint64_t size_ = 0;
  uint64_t left_ = 0;
  bool ended_ = true;    // the pieces of the member in hand
  bool at_end_ = false;  // of the tar, which must not be read on
};

/// Hands out a stream's own buffers; each is dropped from the stream when the next one is wanted.
class StreamBlocks final : public TarBlocks {
 public:
  explicit StreamBlocks(ByteSource& source) : source_(source) {}
  Bytes next() override;
  uint64_t skip(uint64_t) override { return 0; }

 private:
  ByteSource& source_;
  size_t given_ = 0;
};

}  // namespace dvcr
