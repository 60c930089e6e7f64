#include "zero_frames.h"

#include <array>
#include <bit>
#include <mutex>

#include "../zero_bytes.h"
#include "frame_encoder.h"

namespace dvcr {
namespace {

constexpr int kSizes = std::countr_zero(kLongestZeroFrame) - std::countr_zero(kZeroBlock) + 1;

struct Prepared {
  std::once_flag once;
  std::vector<uint8_t> frame;
};

Bytes prepared_frame(LayerCodec codec, int power) {
  static std::array<std::array<Prepared, kSizes>, 2> prepared;
  Prepared& entry = prepared[codec == LayerCodec::kGzip ? 0 : 1][static_cast<size_t>(power)];
  std::call_once(entry.once, [&] {
    const ZeroMapping zeros(static_cast<size_t>(kZeroBlock << power));
    Buffer frame;
    make_frame_encoder(codec)->append(zeros.bytes(), frame);
    entry.frame.assign(frame.data(), frame.data() + frame.size());
  });
  return entry.frame;
}

}  // namespace

ZeroFrame longest_zero_frame(LayerCodec codec, uint64_t length) {
  const uint64_t size = std::min(kLongestZeroFrame, std::bit_floor(length));
  if (size < kZeroBlock) {
    throw Error(code::kInternal, "a run of " + std::to_string(length) + " zeros is no whole number of blocks");
  }
  return {prepared_frame(codec, std::countr_zero(size) - std::countr_zero(kZeroBlock)), size};
}

}  // namespace dvcr
