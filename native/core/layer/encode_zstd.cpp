// zstd frames at level 1, each compressed by one thread on its own, with its content size and without a checksum
// (the registry's digest and the diffID cover every byte).
#define ZSTD_STATIC_LINKING_ONLY  // ZSTD_getFrameHeader; the library is linked statically
#include <zstd.h>

#include <algorithm>
#include <array>
#include <new>

#include "../codec.h"
#include "frame_encoder.h"

namespace dvcr {
namespace {

constexpr int kLevel = 1;
/// Of a frame with one stored block (bytes).
constexpr size_t kStoredHeader = 12;
// One frame of content; the longer frames of zeros must not make a decoder allocate more.
constexpr int kWindowLog = 20;
// RFC 8878 3.1.1.1.2 advises decoders to support windows of 8 MiB: more is not passed on.
constexpr uint64_t kLargestWindow = 8u << 20;

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

size_t check(size_t result) {
  if (ZSTD_isError(result) != 0) {
    throw Error(code::kInternal, std::string("libzstd failed: ") + ZSTD_getErrorName(result));
  }
  return result;
}

class ZstdEncoder final : public FrameEncoder {
 public:
  ZstdEncoder() : context_(ZSTD_createCCtx()) {
    if (context_ == nullptr) throw std::bad_alloc();
    check(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel));
    check(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_windowLog, kWindowLog));
    check(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_contentSizeFlag, 1));
    check(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 0));
  }

  void append(Bytes raw, Buffer& out) override {
    const size_t start = out.size();
    const MutableBytes room = out.extend(ZSTD_compressBound(raw.size()));
    const size_t size = check(ZSTD_compress2(context_.get(), room.data(), room.size(), raw.data(), raw.size()));
    out.truncate(start + size);
  }

  // Not compressed (RFC 8878 3.1.1): the platform's pvc-importer peeks at 512 bytes in a buffer that it uses again once
  // the decoder has brought its first bytes. The decoder must be past them by then, so the first block is longer.
  void append_first(Bytes raw, Buffer& out) override {
    constexpr size_t kLongestBlock = 64 * kKiB;
    if (raw.size() > kLongestBlock) {
      append(raw, out);
      return;
    }
    constexpr uint8_t kSingleSegment = 0xa0;  // the content's size in 4 bytes, no window, no checksum
    const auto size = static_cast<uint32_t>(raw.size());
    const uint32_t block = size << 3 | 1;  // the last one, stored
    const MutableBytes head = out.extend(kStoredHeader);
    constexpr std::array<uint8_t, 5> kStart{0x28, 0xb5, 0x2f, 0xfd, kSingleSegment};
    std::copy(kStart.begin(), kStart.end(), head.begin());
    for (size_t i = 0; i < 4; ++i) head[5 + i] = static_cast<uint8_t>(size >> (8 * i));
    for (size_t i = 0; i < 3; ++i) head[9 + i] = static_cast<uint8_t>(block >> (8 * i));
    out.append(raw);
  }

  Bytes wrap(UnitCodec codec, MutableBytes slot, size_t consumed, Bytes plain) override {
    if (codec != UnitCodec::kZstd || consumed >= plain.size()) return {};
    const Bytes frame = slot.subspan(kWrapBefore, consumed);
    ZSTD_frameHeader header{};
    if (ZSTD_getFrameHeader(&header, frame.data(), frame.size()) != 0) return {};
    const bool plain_frame = header.frameType == ZSTD_frame && header.windowSize <= kLargestWindow &&
                             ZSTD_findFrameCompressedSize(frame.data(), frame.size()) == consumed;
    return plain_frame ? frame : Bytes{};
  }

  void decode(Bytes frame, MutableBytes raw) override { decode_whole(UnitCodec::kZstd, frame, raw); }

 private:
  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
};

}  // namespace

std::unique_ptr<FrameEncoder> make_zstd_encoder() {
  return std::make_unique<ZstdEncoder>();
}

std::string zstd_encoder_id() {
  return std::string("zstd:") + ZSTD_versionString() + ":" + std::to_string(kLevel) + ":" + kZstdRules;
}

}  // namespace dvcr
