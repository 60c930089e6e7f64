#include "frame_encoder.h"

#include "../codec.h"

namespace dvcr {

void FrameEncoder::throw_damaged(Bytes frame) {
  throw Error(code::kScratchIo, "a kept frame of " + std::to_string(frame.size()) + " bytes came back damaged");
}

void FrameEncoder::decode_whole(UnitCodec codec, Bytes packed, MutableBytes raw) {
  DecodedUnit unit{};
  try {
    unit = decode_unit(codec, packed, raw);
  } catch (const Error&) {
    throw_damaged(packed);
  }
  if (unit.produced != raw.size() || unit.consumed != packed.size()) throw_damaged(packed);
}

std::unique_ptr<FrameEncoder> make_frame_encoder(LayerCodec codec) {
  switch (codec) {
    case LayerCodec::kGzip:
      return make_gzip_encoder();
    case LayerCodec::kZstd:
      return make_zstd_encoder();
    case LayerCodec::kNone:
      break;
  }
  return nullptr;
}

std::string encoder_id(LayerCodec codec) {
  switch (codec) {
    case LayerCodec::kGzip:
      return gzip_encoder_id();
    case LayerCodec::kZstd:
      return zstd_encoder_id();
    case LayerCodec::kNone:
      break;
  }
  return "none";
}

}  // namespace dvcr
