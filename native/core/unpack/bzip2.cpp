// bzip2 by libbz2. pbzip2 and lbzip2 write many streams, one per block.
#include <bzlib.h>

#include <algorithm>

#include "decoder.h"

namespace dvcr {
namespace {

constexpr size_t kMaxStep = 1024 * kMiB;  // libbz2 counts in 32 bits

class Bzip2Decoder final : public Decoder {
 public:
  explicit Bzip2Decoder(PrefixSource& inner) : Decoder(Compression::kBzip2, inner) {}
  ~Bzip2Decoder() override { BZ2_bzDecompressEnd(&stream_); }
  Bzip2Decoder(const Bzip2Decoder&) = delete;
  Bzip2Decoder& operator=(const Bzip2Decoder&) = delete;

 protected:
  void begin(PrefixSource&) override {
    BZ2_bzDecompressEnd(&stream_);
    stream_ = {};
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) fail_allocation();
  }

  Step step(Bytes in, MutableBytes out) override {
    auto offered = static_cast<unsigned>(std::min(in.size(), kMaxStep));
    auto room = static_cast<unsigned>(std::min(out.size(), kMaxStep));
    // libbz2 does not write through next_in; its field only lacks the const.
    stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(in.data()));
    stream_.avail_in = offered;
    stream_.next_out = reinterpret_cast<char*>(out.data());
    stream_.avail_out = room;
    int status = BZ2_bzDecompress(&stream_);
    if (status == BZ_MEM_ERROR) {
      fail_allocation();
    } else if (status != BZ_OK && status != BZ_STREAM_END) {
      fail_damaged(status == BZ_DATA_ERROR_MAGIC ? "wrong header" : "wrong data or block checksum");
    }
    return {offered - stream_.avail_in, room - stream_.avail_out, status == BZ_STREAM_END};
  }

 private:
  bz_stream stream_{};
};

}  // namespace

std::unique_ptr<Unpacker> make_bzip2_decoder(PrefixSource& inner) {
  return std::make_unique<Bzip2Decoder>(inner);
}

}  // namespace dvcr
