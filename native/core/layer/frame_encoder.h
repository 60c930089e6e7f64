// One frame of the layer: a gzip member or a zstd frame that stands for itself.
#pragma once

#include <memory>
#include <string>

#include "buffer.h"
#include "layer_builder.h"

namespace dvcr {

/// Guest-aligned length of the frames that hold raw content, in bytes.
inline constexpr size_t kFrameSize = 1u << 20;

/// What stands in encoder ids for the frame size and for the rules in frames.h. A change of any rule, level, codec
/// parameter or header byte needs a new revision of that codec's, because it changes the digests of layers.
inline constexpr const char* kGzipRules = "1MiB:r1";
inline constexpr const char* kZstdRules = "1MiB:r2";

/// Room that wrap() needs in front of and behind a packed unit: a gzip header and trailer (RFC 1952).
inline constexpr size_t kWrapBefore = 10;
inline constexpr size_t kWrapAfter = 8;

/// Makes frames. Each thread has one of its own.
class FrameEncoder {
 public:
  virtual ~FrameEncoder() = default;
  /// Appends one frame with the bytes of `raw` (at most 64 MiB) to `out`; a pure function of `raw`.
  virtual void append(Bytes raw, Buffer& out) = 0;
  /// As append(), for the layer's first frame, which is read by others in ways of their own.
  virtual void append_first(Bytes raw, Buffer& out) { append(raw, out); }
  /// Makes the packed unit a frame without compressing it again. `slot` holds kWrapBefore free bytes, the packed
  /// bytes, of which the decoder used `consumed`, and kWrapAfter free bytes; `plain` is what they decode to.
  /// Returns the frame, a part of `slot`; empty when this unit cannot be a frame of this codec.
  virtual Bytes wrap(UnitCodec codec, MutableBytes slot, size_t consumed, Bytes plain) = 0;
  /// Decodes a frame made by append() or wrap(). Throws kScratchIo when it does not give exactly raw.size() bytes:
  /// only frames that were kept in scratch come back here.
  virtual void decode(Bytes frame, MutableBytes raw) = 0;

 protected:
  /// Decodes the whole of `packed` into the whole of `raw`, or throws kScratchIo.
  static void decode_whole(UnitCodec codec, Bytes packed, MutableBytes raw);
  [[noreturn]] static void throw_damaged(Bytes frame);
};

/// Nothing for kNone.
std::unique_ptr<FrameEncoder> make_frame_encoder(LayerCodec codec);

std::unique_ptr<FrameEncoder> make_gzip_encoder();
std::unique_ptr<FrameEncoder> make_zstd_encoder();
std::string gzip_encoder_id();
std::string zstd_encoder_id();

}  // namespace dvcr
