// The pull interface that every stage before the disk image shares: source -> verify -> unpack.
// One consumer thread; read() and peek() may block while bytes are on their way.
#pragma once

#include <cstring>
#include <optional>
#include <vector>

#include "bytes.h"

namespace dvcr {

/// Random access to the same bytes that a ByteSource delivers in order, where the origin offers it
/// (a file, an HTTP server with Range). Used only for small pieces of metadata ahead of the stream.
class RangeReader {
 public:
  virtual ~RangeReader() = default;
  /// Total size in bytes.
  [[nodiscard]] virtual uint64_t size() const = 0;
  /// Fills `out` from `offset`. False where the origin offers random access no longer: the stream goes on without.
  /// Nothing is asked of the origin for an empty `out`, which no HTTP range can express. Throws kTruncated or
  /// kSourceIo.
  [[nodiscard]] bool read_at(uint64_t offset, MutableBytes out) { return out.empty() || fill(offset, out); }

 private:
  /// `out` is never empty.
  virtual bool fill(uint64_t offset, MutableBytes out) = 0;
};

/// A forward-only stream of bytes.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// The next bytes without copying: at least one, or none at the end of the stream.
  /// Valid until the next call of any member.
  virtual Bytes peek() = 0;
  /// Drops `count` bytes, at most what the last peek() returned.
  virtual void consume(size_t count) = 0;
  /// Fills `out` as far as the stream reaches; fewer bytes than asked only at the end of the stream.
  /// Decoders override this to write straight into `out`.
  virtual size_t read(MutableBytes out) {
    size_t done = 0;
    while (done < out.size()) {
      Bytes next = peek();
      if (next.empty()) break;
      size_t take = next.size() < out.size() - done ? next.size() : out.size() - done;
      std::memcpy(out.data() + done, next.data(), take);
      consume(take);
      done += take;
    }
    return done;
  }
  /// Consumes the zeros that follow where the origin knows of them without reading (a hole of a sparse file) and
  /// returns their number; 0 where it knows of none, which may be zeros all the same.
  virtual uint64_t skip_hole() { return 0; }
  /// Exact number of bytes of the whole stream when that is known now, else nothing.
  [[nodiscard]] virtual std::optional<uint64_t> size() const { return std::nullopt; }
  /// Random access to the same bytes; null where there is none, or none any more. Owned by the source.
  virtual RangeReader* ranges() { return nullptr; }
};

/// Bytes in memory, handed out at most `chunk` at a time (0: all at once); for tests, fuzzing and probing.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(Bytes bytes, size_t chunk = 0) : rest_(bytes), chunk_(chunk), size_(bytes.size()) {}
  Bytes peek() override { return chunk_ != 0 && rest_.size() > chunk_ ? rest_.first(chunk_) : rest_; }
  void consume(size_t count) override { rest_ = rest_.subspan(count); }
  [[nodiscard]] std::optional<uint64_t> size() const override { return size_; }

 private:
  Bytes rest_;
  size_t chunk_;
  uint64_t size_;
};

/// Lets the next bytes of a source be looked at before anyone consumes them.
class PrefixSource final : public ByteSource {
 public:
  explicit PrefixSource(ByteSource& inner) : inner_(inner) {}
  /// The next bytes of the stream, `want` of them unless it ends before. Consumes nothing.
  Bytes prefix(size_t want);
  Bytes peek() override;
  void consume(size_t count) override;
  size_t read(MutableBytes out) override;
  uint64_t skip_hole() override { return position_ == prefix_.size() ? inner_.skip_hole() : 0; }
  [[nodiscard]] std::optional<uint64_t> size() const override { return inner_.size(); }
  RangeReader* ranges() override { return inner_.ranges(); }

 private:
  ByteSource& inner_;
  std::vector<uint8_t> prefix_;
  size_t position_ = 0;
};

}  // namespace dvcr
