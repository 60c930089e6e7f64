#include "decoder.h"

#include <algorithm>

#include "../formats/refused.h"
#include "magic.h"

namespace dvcr {
namespace {

constexpr size_t kPeekSize = 256 * kKiB;
constexpr uint64_t kXzUnit = 4;
constexpr size_t kTrailer = 512;

std::string mebibytes(uint64_t bytes) {
  return std::to_string(div_ceil(bytes, kMiB)) + " MiB";
}

}  // namespace

Bytes Decoder::peek() {
  if (taken_ == filled_) {
    buffer_.resize(kPeekSize);
    taken_ = filled_ = 0;
    filled_ = decode(buffer_);
  }
  return Bytes(buffer_).subspan(taken_, filled_ - taken_);
}

size_t Decoder::read(MutableBytes out) {
  size_t done = std::min(out.size(), filled_ - taken_);
  if (done > 0) std::memcpy(out.data(), buffer_.data() + taken_, done);
  taken_ += done;
  while (done < out.size()) {
    size_t produced = decode(out.subspan(done));
    if (produced == 0) break;
    done += produced;
  }
  return done;
}

// At least one byte, or none at the end of the last stream and of the input behind it.
size_t Decoder::decode(MutableBytes out) {
  while (true) {
    if (failure_) throw Error(*failure_);
    if (!in_stream_) {
      in_stream_ = next_stream();
      if (failure_) continue;
      if (!in_stream_) return 0;
    }
    Bytes in = inner_.peek();
    Step done = step(in, out);
    inner_.consume(done.consumed);
    consumed_ += done.consumed;
    produced_ += done.produced;
    if (done.stream_end) {
      in_stream_ = false;
    } else if (!failure_ && in.empty() && done.produced == 0) {
      fail(code::kTruncated, "ends early");
    }
    if (done.produced > 0) return done.produced;
  }
}

bool Decoder::next_stream() {
  if (trailing_) return false;
  bool first = !started_;
  started_ = true;
  uint64_t padding = first ? 0 : skip_zeros();
  Bytes head = inner_.prefix(kMagicSize);
  if (head.empty() && !first) {
    // The .xz File Format 2.2: padding is whole units of four bytes, so that a cut within a stream is not taken for it.
    if (compression_ == Compression::kXz && padding % kXzUnit != 0) {
      fail(code::kCorruptCompression, "has padding of " + std::to_string(padding) + " bytes, no multiple of four");
    }
    return false;
  }
  // Only xz has padding between streams, in units of four bytes (The .xz File Format 2.2).
  bool may_begin = padding == 0 || (compression_ == Compression::kXz && padding % kXzUnit == 0);
  if (!may_begin || !could_begin(compression_, head)) {
    if (first) {
      fail_damaged("the magic is missing");
    } else {
      meet_trailing_data();
    }
    return false;
  }
  if (head.size() < kMagicSize) {
    fail(code::kTruncated, "ends early");
    return false;
  }
  begin(inner_);
  return true;
}

// Reads all of it, as its end tells an Apple disk image, whose first chunk is such a stream, from anything else.
void Decoder::meet_trailing_data() {
  const uint64_t at = consumed_;
  std::vector<uint8_t> last;
  for (Bytes more = inner_.peek(); !more.empty(); more = inner_.peek()) {
    last.insert(last.end(), more.end() - static_cast<std::ptrdiff_t>(std::min(more.size(), kTrailer)), more.end());
    if (last.size() > kTrailer) last.erase(last.begin(), last.end() - static_cast<std::ptrdiff_t>(kTrailer));
    consumed_ += more.size();
    inner_.consume(more.size());
  }
  if (const RefusedFormat* refused = refused_trailer(last)) {
    failure_.emplace(refused->code, refused_text(*refused));
  } else if (compression_ == Compression::kGzip) {
    trailing_ = {at, consumed_ - at, produced_};
  } else {
    failure_.emplace(code::kTrailingData, "data follows the end of the " + std::string(compression_name(compression_)) +
                                              " stream at its byte " + std::to_string(at));
  }
}

uint64_t Decoder::skip_zeros() {
  uint64_t zeros = 0;
  while (true) {
    Bytes next = inner_.peek();
    if (next.empty()) return zeros;
    size_t run =
        is_zero(next)
            ? next.size()
            : static_cast<size_t>(std::find_if(next.begin(), next.end(), [](uint8_t byte) { return byte != 0; }) -
                                  next.begin());
    bool ended = run < next.size();
    inner_.consume(run);
    consumed_ += run;
    zeros += run;
    if (ended) return zeros;
  }
}

void Decoder::fail(std::string_view code, const std::string& what) {
  if (failure_) return;
  failure_.emplace(code, "the " + std::string(compression_name(compression_)) + " stream " + what + ", after " +
                             std::to_string(produced_) + " unpacked bytes");
}

void Decoder::fail_damaged(std::string_view reason) {
  fail(code::kCorruptCompression, "is damaged (" + std::string(reason) + ")");
}

void Decoder::fail_memory(uint64_t needed, uint64_t limit) {
  std::string amount = needed > limit ? mebibytes(needed) : "more memory";
  fail(code::kDecoderMemory, "needs " + amount + " to unpack, more than the limit of " + mebibytes(limit));
}

void Decoder::fail_allocation() {
  fail(code::kDecoderMemory, "got no memory to unpack");
}

std::unique_ptr<Unpacker> make_unpacker(Compression compression, PrefixSource& inner, const Limits& limits,
                                        unsigned threads) {
  switch (compression) {
    case Compression::kGzip:
      return make_gzip_decoder(inner);
    case Compression::kXz:
      return make_xz_decoder(inner, limits, threads);
    case Compression::kZstd:
      return make_zstd_decoder(inner, limits);
    case Compression::kBzip2:
      return make_bzip2_decoder(inner);
    case Compression::kSnappy:
      return make_snappy_decoder(inner);
    case Compression::kNone:
      break;
  }
  throw Error(code::kInternal, "no unpacker for an uncompressed source");
}

}  // namespace dvcr
