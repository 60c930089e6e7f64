// The work of the pool: what turns a window into frames. These rules define the bytes of a layer; whoever changes one
// changes the rules of frame_encoder.h too.
//
//  1. A compressed unit becomes a frame as it is when its size is a power of two of at least 32 KiB, it lies at a
//     multiple of its size, belongs to the disk entirely, decodes to all of its bytes, is not all zeros, is smaller
//     packed than unpacked, and its codec is the layer's: deflate or zlib (whose wrapping is taken off) in a gzip
//     layer, one zstd frame without dictionary and with a window of at most 8 MiB in a zstd layer.
//  2. Of what remains, each whole 64 KiB block at a multiple of 64 KiB of the disk that is all zeros joins the zero
//     run. A run is written as frames of 64 MiB down to 64 KiB of zeros, always the largest power of two that fits.
//  3. Of what remains then, each contiguous stretch inside 1 MiB at a multiple of 1 MiB of the disk is one frame.
//  4. What stands before and after the disk's content in the tar is one frame each.
#pragma once

#include "../codec.h"
#include "frame_encoder.h"
#include "window.h"

namespace dvcr {

inline constexpr size_t kSmallestWrapped = 32 * kKiB;

/// One per worker thread.
class FrameCutter {
 public:
  /// `codec` kNone: units are decoded and nothing is compressed.
  FrameCutter(LayerCodec codec, bool allow_nested) : encoder_(make_frame_encoder(codec)), allow_nested_(allow_nested) {}
  /// Fills in raw and segments. Throws kCorruptCluster, kNested, and kScratchIo for kept frames.
  void run(Window& window);

 private:
  void decode_one(Window& window, WindowUnit& entry);
  void wrap(Window& window, WindowUnit& entry);
  void cut(Window& window);
  void encode(Window& window, size_t begin, size_t end);
  void decode_kept(Window& window);

  std::unique_ptr<FrameEncoder> encoder_;
  bool allow_nested_;
  Buffer bounce_;
};

}  // namespace dvcr
