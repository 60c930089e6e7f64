// gzip (RFC 1952) by zlib's streaming inflate: inside Node the zlib that the node executable exports, elsewhere the
// system's. ISA-L would be faster, but the release in Debian has memory-safety faults on untrusted input.
#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>

#include "decoder.h"

namespace dvcr {
namespace {

constexpr int kGzipOnly = 15 + 16;        // largest window, gzip framing required
constexpr size_t kMaxStep = 1024 * kMiB;  // zlib counts in 32 bits

class GzipDecoder final : public Decoder {
 public:
  explicit GzipDecoder(PrefixSource& inner) : Decoder(Compression::kGzip, inner) {
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw Error(code::kInternal, "zlib did not start");
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

 protected:
  void begin(PrefixSource&) override { inflateReset(&stream_); }

  Step step(Bytes in, MutableBytes out) override {
    auto offered = static_cast<uInt>(std::min(in.size(), kMaxStep));
    auto room = static_cast<uInt>(std::min(out.size(), kMaxStep));
    stream_.next_in = in.data();
    stream_.avail_in = offered;
    stream_.next_out = out.data();
    stream_.avail_out = room;
    int status = inflate(&stream_, Z_NO_FLUSH);
    // Z_BUF_ERROR is no damage: nothing could be done with what was given.
    if (status == Z_MEM_ERROR) {
      fail_allocation();
    } else if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      fail_damaged(stream_.msg != nullptr ? stream_.msg : "inflate failed");
    }
    return {offered - stream_.avail_in, room - stream_.avail_out, status == Z_STREAM_END};
  }

 private:
  z_stream stream_{};
};

}  // namespace

std::unique_ptr<Unpacker> make_gzip_decoder(PrefixSource& inner) {
  return std::make_unique<GzipDecoder>(inner);
}

}  // namespace dvcr
