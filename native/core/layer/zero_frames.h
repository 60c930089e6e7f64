// Runs of zeros, written as frames that are compressed once per process.
#pragma once

#include <cstdint>

#include "../zero_bytes.h"
#include "layer_builder.h"

namespace dvcr {

/// Zero runs are whole blocks of this many bytes, at multiples of it.
inline constexpr uint64_t kZeroBlock = 64 * kKiB;
/// The longest zero frame, in bytes of zeros.
inline constexpr uint64_t kLongestZeroFrame = 64 * kMiB;

/// The frame of `codec` (not kNone) with the most zeros that fit in `length` (>= kZeroBlock), a power of two, and how
/// many they are. The bytes live for ever.
struct ZeroFrame {
  Bytes frame;
  uint64_t length;
};
ZeroFrame longest_zero_frame(LayerCodec codec, uint64_t length);

/// Joins zeros into runs: the same frames come out however the run was handed in.
class ZeroRun {
 public:
  explicit ZeroRun(LayerCodec codec) : codec_(codec) {}

  /// Zeros at the end of the run; calls `write` with the frames that are certain by now.
  template <typename Write>
  void add(uint64_t length, Write&& write) {
    pending_ += length;
    while (pending_ >= kLongestZeroFrame) write_one(write);
  }
  /// Ends the run.
  template <typename Write>
  void flush(Write&& write) {
    while (pending_ > 0) write_one(write);
  }

 private:
  template <typename Write>
  void write_one(Write&& write) {
    if (codec_ == LayerCodec::kNone) {
      const Bytes zeros = zero_bytes(pending_);
      pending_ -= zeros.size();
      write(zeros);
    } else {
      const ZeroFrame longest = longest_zero_frame(codec_, pending_);
      pending_ -= longest.length;
      write(longest.frame);
    }
  }

  LayerCodec codec_;
  uint64_t pending_ = 0;
};

}  // namespace dvcr
