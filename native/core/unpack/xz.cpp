// .xz by liblzma's threaded decoder, stream by stream, so that what stands between and after streams can be told apart.
#include <lzma.h>

#include <algorithm>
#include <array>

#include "decoder.h"

namespace dvcr {
namespace {

/// What blocks decoded side by side may hold together: input, output and dictionary of each. Two blocks of `xz -6`
/// (24 MiB each way, 8 MiB dictionary) need 57 MiB each when their content does not compress at all, usually 40 MiB.
/// The rest of the process then has 140 MiB within the promised 256 MiB. A block that does not fit is waited for, or
/// decoded without threads when it would not fit alone (`xz -9`: 192 MiB blocks).
constexpr uint64_t kThreadingMemory = 116 * kMiB;

/// A stream header and the largest block header (The .xz File Format 2.1.1, 3.1).
constexpr size_t kFirstHeaders = LZMA_STREAM_HEADER_SIZE + LZMA_BLOCK_HEADER_SIZE_MAX;

/// Memory in bytes to decode the first block of the stream that `head` begins. The threaded decoder does not tell.
uint64_t needed_memory(Bytes head) {
  lzma_stream stream = LZMA_STREAM_INIT;
  uint64_t needed = 0;
  if (lzma_stream_decoder(&stream, 1, 0) == LZMA_OK) {
    uint8_t out = 0;
    stream.next_in = head.data();
    stream.avail_in = head.size();
    stream.next_out = &out;
    stream.avail_out = 1;
    if (lzma_code(&stream, LZMA_RUN) == LZMA_MEMLIMIT_ERROR) needed = lzma_memusage(&stream);
  }
  lzma_end(&stream);
  return needed;
}

class XzDecoder final : public Decoder {
 public:
  XzDecoder(PrefixSource& inner, const Limits& limits, unsigned threads)
      : Decoder(Compression::kXz, inner), limit_(limits.max_decoder_memory) {
    options_.flags = LZMA_TELL_UNSUPPORTED_CHECK;
    options_.threads = std::clamp(threads, 1U, 64U);
    // With one thread a limit of 0 makes the library decode on the caller's, without block buffers.
    options_.memlimit_threading = threads > 1 ? std::min(kThreadingMemory, limit_) : 0;
    options_.memlimit_stop = limit_;
  }
  ~XzDecoder() override { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

 protected:
  void begin(PrefixSource& inner) override {
    Bytes head = inner.prefix(kFirstHeaders);
    std::copy(head.begin(), head.end(), first_headers_.begin());
    first_headers_size_ = head.size();
    if (lzma_stream_decoder_mt(&stream_, &options_) != LZMA_OK) fail_allocation();
  }

  Step step(Bytes in, MutableBytes out) override {
    stream_.next_in = in.data();
    stream_.avail_in = in.size();
    stream_.next_out = out.data();
    stream_.avail_out = out.size();
    lzma_ret status = LZMA_OK;
    // At the end of the input the library says LZMA_OK once more before it admits by LZMA_BUF_ERROR to be stuck.
    do {
      status = lzma_code(&stream_, in.empty() ? LZMA_FINISH : LZMA_RUN);
    } while (status == LZMA_OK && in.empty() && stream_.avail_out == out.size());
    report(status);
    return {in.size() - stream_.avail_in, out.size() - stream_.avail_out, status == LZMA_STREAM_END};
  }

 private:
  void report(lzma_ret status) {
    switch (status) {
      case LZMA_OK:
      case LZMA_STREAM_END:
      case LZMA_BUF_ERROR:
        break;
      case LZMA_MEMLIMIT_ERROR:
        fail_memory(needed_memory(Bytes(first_headers_).first(first_headers_size_)), limit_);
        break;
      case LZMA_MEM_ERROR:
        fail_allocation();
        break;
      case LZMA_UNSUPPORTED_CHECK:
        fail(code::kUnsupportedFeature,
             "has checksums of an unknown type (" + std::to_string(static_cast<int>(lzma_get_check(&stream_))) + ")");
        break;
      case LZMA_OPTIONS_ERROR:  // header checksums were right, so this is no damage
        fail(code::kUnsupportedFeature, "uses a filter or an option that liblzma does not know");
        break;
      case LZMA_FORMAT_ERROR:
        fail_damaged("the magic is missing");
        break;
      default:
        fail_damaged("wrong data or checksum");
    }
  }

  uint64_t limit_;
  lzma_mt options_{};
  lzma_stream stream_ = LZMA_STREAM_INIT;
  std::array<uint8_t, kFirstHeaders> first_headers_{};
  size_t first_headers_size_ = 0;
};

}  // namespace

std::unique_ptr<Unpacker> make_xz_decoder(PrefixSource& inner, const Limits& limits, unsigned threads) {
  return std::make_unique<XzDecoder>(inner, limits, threads);
}

}  // namespace dvcr
