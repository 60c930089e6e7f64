// What compressed streams say of their unpacked size before they are unpacked.
#define ZSTD_STATIC_LINKING_ONLY  // ZSTD_FRAMEHEADERSIZE_MAX; the library is linked statically
#include <zstd.h>

#include <array>

#include "unpack.h"
#include "xz_index.h"

namespace dvcr {
namespace {

constexpr size_t kZstdPrefix = 4 * kKiB;      // skippable frames before the first real one are looked past this far
constexpr uint64_t kSkippableHeader = 8;      // RFC 8878 3.1.2: magic and length
constexpr uint64_t kGzipFraming = 18;         // RFC 1952 2.3: least header and trailer
constexpr uint64_t kHeaderFields = 4 * kKiB;  // room for a name, a comment and extra fields
constexpr uint64_t kDeflateMaxRatio = 1032;   // a 258-byte match takes two bits at least
constexpr uint64_t kStoredBlock = 16383;      // the smallest that encoders store, 5 bytes are added to each

std::optional<SizeHint> zstd_hint(PrefixSource& inner) {
  Bytes head = inner.prefix(ZSTD_FRAMEHEADERSIZE_MAX);
  uint64_t offset = 0;
  while (head.size() >= offset + kSkippableHeader &&
         (le32(head, offset) & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START) {
    offset += kSkippableHeader + le32(head, offset + 4);
    if (offset + ZSTD_FRAMEHEADERSIZE_MAX > kZstdPrefix) return std::nullopt;
    head = inner.prefix(kZstdPrefix);
  }
  if (offset >= head.size()) return std::nullopt;
  Bytes frame = head.subspan(static_cast<size_t>(offset));
  unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size == 0) return std::nullopt;
  return SizeHint{size, false, "zstd-frame"};
}

constexpr uint64_t kTrailerField = 4;

std::optional<uint32_t> gzip_isize(RangeReader& file) {
  std::array<uint8_t, kTrailerField> trailer{};
  if (!file.read_at(file.size() - trailer.size(), trailer)) return std::nullopt;
  return le32(trailer, 0);
}

// ISIZE is the size of the last member modulo 4 GiB. Values that deflate cannot give for a file of this size, which
// several members, a wrapped counter or padding cause, would only cost a push in vain.
std::optional<SizeHint> gzip_hint(RangeReader& file) {
  if (file.size() < kGzipFraming) return std::nullopt;
  const uint64_t size = gzip_isize(file).value_or(0);
  uint64_t packed = file.size() - kGzipFraming;
  bool too_small = packed > size + (size / kStoredBlock + 1) * 5 + kHeaderFields;
  bool too_large = size / kDeflateMaxRatio > packed;
  if (size == 0 || too_small || too_large) return std::nullopt;
  return SizeHint{size, false, "gzip-isize"};
}

}  // namespace

std::optional<SizeHint> unpacked_size_hint(Compression compression, PrefixSource& inner, const Limits& limits) {
  if (compression == Compression::kZstd) return zstd_hint(inner);
  RangeReader* file = inner.ranges();
  if (file == nullptr) return std::nullopt;
  if (compression == Compression::kGzip) return gzip_hint(*file);
  if (compression == Compression::kXz) {
    std::optional<uint64_t> size = xz_indexed_size(*file, limits);
    if (size) return SizeHint{*size, true, "xz-index"};
  }
  return std::nullopt;
}

bool gzip_trailer_says(uint64_t size, RangeReader& file) {
  return file.size() >= kGzipFraming && gzip_isize(file) == static_cast<uint32_t>(size);
}

}  // namespace dvcr
