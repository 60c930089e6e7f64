// Outer compression: gzip (all members), xz (all streams, threaded where the blocks allow), zstd (all frames), bzip2.
// Recognised by content, never by name; only framed snappy is unpacked where it was declared. Zero padding after the
// last stream is accepted (tapes and dd add it; that of xz must be whole units of four bytes), anything else after it
// is kTrailingData, unless it is behind gzip and whoever unpacks knows that nothing is missing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../byte_source.h"
#include "../import_limits.h"

namespace dvcr {

enum class Compression : uint8_t { kNone, kGzip, kXz, kZstd, kBzip2, kSnappy };

/// By the first bytes (at least 6 wanted). zstd's skippable frames (RFC 8878 3.1.2) count as zstd. Never kSnappy.
Compression detect_compression(Bytes head);
/// "gzip", "xz", "zstd", "bzip2", "snappy" or "none".
std::string_view compression_name(Compression compression);

/// What the outer stream says of its unpacked size before it was unpacked.
struct SizeHint {
  uint64_t size;
  bool exact;        ///< true: the container's own index; a mismatch is then an error
  std::string from;  ///< "xz-index", "zstd-frame", "gzip-isize"
};

/// What stands behind a complete gzip stream and is none.
struct TrailingData {
  uint64_t at;        ///< its offset in the compressed bytes
  uint64_t length;    ///< bytes
  uint64_t unpacked;  ///< bytes that the stream gave
};

/// A source of unpacked bytes.
class Unpacker : public ByteSource {
 public:
  /// Set once the end was reached: only of gzip, to which some writers add metadata; behind other streams such data is
  /// an error at once.
  [[nodiscard]] virtual const std::optional<TrailingData>& trailing() const = 0;
};

/// A source of the unpacked bytes of `inner`, which must begin with the magic of `compression`.
/// `threads` bounds xz's parallel decoding; memory beyond limits.max_decoder_memory for one thread is
/// kDecoderMemory, for more threads it falls back to fewer. Damage is kCorruptCompression, an early end kTruncated.
std::unique_ptr<Unpacker> make_unpacker(Compression compression, PrefixSource& inner, const Limits& limits,
                                        unsigned threads);

/// The unpacked size as far as the stream's own fields tell: from the first frame header (zstd, inexact), and with
/// inner.ranges() from the xz index (exact) or the last four bytes of a gzip file (inexact). Consumes nothing.
std::optional<SizeHint> unpacked_size_hint(Compression compression, PrefixSource& inner, const Limits& limits);
/// True when a gzip file's last four bytes are `size` modulo 4 GiB (RFC 1952 2.3.1).
bool gzip_trailer_says(uint64_t size, RangeReader& file);

/// The chain of unpackers around `source`: at most limits.max_compression_depth, else kNestedCompression. With a
/// `declared` compression exactly that one: what it holds is taken as it is.
class UnpackChain {
 public:
  UnpackChain(ByteSource& source, const Limits& limits, unsigned threads, Compression declared = Compression::kNone);
  /// The innermost, unpacked bytes.
  PrefixSource& output() { return *stages_.back().prefix; }
  /// Outermost first, empty when the source is not compressed.
  [[nodiscard]] const std::vector<Compression>& compressions() const { return compressions_; }
  /// For a single compression: what it says of its size. With two layers only the inner one matters.
  [[nodiscard]] const std::optional<SizeHint>& size_hint() const { return size_hint_; }
  /// True where the end of a single gzip file, which its origin can be asked for, says this unpacked size as well.
  [[nodiscard]] bool end_says(uint64_t size) const;
  /// Reads what follows the innermost content to the end of every layer, so that trailing data is noticed and the
  /// verifying stage below sees each byte. Throws kTrailingData, not for data behind the innermost gzip stream where
  /// `accept_trailing`.
  void finish(bool accept_trailing = false);
  /// The data behind the innermost stream, known once that was read to its end.
  [[nodiscard]] std::optional<TrailingData> trailing() const;

 private:
  void add(Compression compression, const Limits& limits, unsigned threads);

  struct Stage {
    std::unique_ptr<Unpacker> unpacker;  // null for the first stage
    std::unique_ptr<PrefixSource> prefix;
  };
  std::vector<Stage> stages_;
  std::vector<Compression> compressions_;
  std::optional<SizeHint> size_hint_;
};

}  // namespace dvcr
