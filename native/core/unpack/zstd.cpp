// Zstandard (RFC 8878) by libzstd: all frames, skippable ones too.
#define ZSTD_STATIC_LINKING_ONLY  // ZSTD_getFrameHeader; the library is linked statically
#include <zstd.h>
#include <zstd_errors.h>

#include "decoder.h"

namespace dvcr {
namespace {

constexpr uint64_t kOverhead = kMiB;  // context, input block and flush margin, generously

/// The largest window that fits `memory` bytes together with the context: 27 (128 MiB) for 256 MiB.
unsigned max_window_log(uint64_t memory) {
  unsigned log = ZSTD_WINDOWLOG_MIN;
  while (log < ZSTD_WINDOWLOG_MAX && (uint64_t{1} << (log + 1)) + kOverhead <= memory) ++log;
  return log;
}

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder(PrefixSource& inner, const Limits& limits)
      : Decoder(Compression::kZstd, inner), limit_(limits.max_decoder_memory), context_(ZSTD_createDCtx()) {
    if (!context_) throw Error(code::kInternal, "libzstd did not start");
    window_log_ = max_window_log(limit_);
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, static_cast<int>(window_log_));
  }

 protected:
  void begin(PrefixSource& inner) override {
    Bytes head = inner.prefix(ZSTD_FRAMEHEADERSIZE_MAX);
    ZSTD_frameHeader header{};
    // Not readable: too short or damaged, which the decoder itself will say.
    if (ZSTD_getFrameHeader(&header, head.data(), head.size()) != 0) return;
    if (header.frameType == ZSTD_skippableFrame) return;
    if (header.dictID != 0) {
      fail(code::kCorruptCompression, "needs dictionary " + std::to_string(header.dictID) + ", which is not in it");
    } else if (header.windowSize > uint64_t{1} << window_log_) {
      fail_memory(header.windowSize, limit_);
    }
  }

  Step step(Bytes in, MutableBytes out) override {
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    size_t status = ZSTD_decompressStream(context_.get(), &output, &input);
    if (ZSTD_isError(status) != 0) {
      switch (ZSTD_getErrorCode(status)) {
        case ZSTD_error_frameParameter_windowTooLarge:
          fail_memory(0, limit_);
          break;
        case ZSTD_error_memory_allocation:
          fail_allocation();
          break;
        default:
          fail_damaged(ZSTD_getErrorName(status));
      }
    }
    return {input.pos, output.pos, status == 0};
  }

 private:
  uint64_t limit_;
  unsigned window_log_ = 0;
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
};

}  // namespace

std::unique_ptr<Unpacker> make_zstd_decoder(PrefixSource& inner, const Limits& limits) {
  return std::make_unique<ZstdDecoder>(inner, limits);
}

}  // namespace dvcr
