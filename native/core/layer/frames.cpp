#include "frames.h"

#include <bit>

#include "../disk_image.h"
#include "zero_frames.h"

namespace dvcr {

void FrameCutter::run(Window& window) {
  if (window.kept) {
    decode_kept(window);
    return;
  }
  for (WindowUnit& entry : window.units) {
    if (!entry.decoded) decode_one(window, entry);
  }
  if (window.guest_offset == 0 && !allow_nested_) refuse_nested(window.raw.bytes());
  if (encoder_ != nullptr) cut(window);
}

void FrameCutter::decode_one(Window& window, WindowUnit& entry) {
  const CompressedUnit& unit = entry.unit;
  const Bytes packed = window.arena.bytes().subspan(entry.slot + kWrapBefore, unit.packed_size);
  const MutableBytes place = window.raw.bytes().subspan(entry.at, unit.guest_size);
  const bool whole = unit.guest_size == unit.unit_size;
  if (!whole) {
    // Decoded aside, since the bytes after its part of the disk may belong to someone else.
    bounce_.truncate(0);
    bounce_.extend(unit.unit_size);
  }
  const DecodedUnit decoded = decode_checked(unit, packed, whole ? place : bounce_.bytes());
  if (!whole) std::memcpy(place.data(), bounce_.data(), place.size());
  entry.consumed = decoded.consumed;
  if (whole && decoded.produced == unit.unit_size) wrap(window, entry);
}

void FrameCutter::wrap(Window& window, WindowUnit& entry) {
  const size_t size = entry.unit.unit_size;
  if (encoder_ == nullptr || size < kSmallestWrapped || !std::has_single_bit(size)) return;
  if ((window.guest_offset + entry.at) % size != 0) return;
  const Bytes plain = window.raw.bytes().subspan(entry.at, size);
  if (is_zero(plain)) return;
  const MutableBytes slot = window.arena.bytes().subspan(entry.slot, kWrapBefore + entry.unit.packed_size + kWrapAfter);
  const Bytes frame = encoder_->wrap(entry.unit.codec, slot, entry.consumed, plain);
  if (frame.empty()) return;
  entry.wrapped_at = static_cast<size_t>(frame.data() - window.arena.data());
  entry.wrapped_size = frame.size();
}

void FrameCutter::cut(Window& window) {
  const Bytes raw = window.raw.bytes();
  auto unit = window.units.begin();
  size_t raw_begin = 0;
  for (size_t at = 0; at < raw.size();) {
    while (unit != window.units.end() && (unit->wrapped_size == 0 || unit->at < at)) ++unit;
    const size_t next_unit = unit == window.units.end() ? raw.size() : unit->at;
    if (at == next_unit) {
      encode(window, raw_begin, at);
      window.segments.push_back({Segment::From::kArena, unit->wrapped_at, unit->wrapped_size, unit->unit.unit_size});
      raw_begin = at += unit->unit.unit_size;
      continue;
    }
    const size_t block_end = std::min(at - at % kZeroBlock + kZeroBlock, next_unit);
    if (block_end - at == kZeroBlock && is_zero(raw.subspan(at, kZeroBlock))) {
      encode(window, raw_begin, at);
      window.segments.push_back({Segment::From::kZeros, 0, 0, kZeroBlock});
      raw_begin = block_end;
    }
    at = block_end;
  }
  encode(window, raw_begin, raw.size());
}

void FrameCutter::encode(Window& window, size_t begin, size_t end) {
  while (begin < end) {
    const size_t frame_end = std::min(begin - begin % kFrameSize + kFrameSize, end);
    const size_t offset = window.frames.size();
    encoder_->append(window.raw.bytes().subspan(begin, frame_end - begin), window.frames);
    window.segments.push_back({Segment::From::kFrames, offset, window.frames.size() - offset, frame_end - begin});
    begin = frame_end;
  }
}

void FrameCutter::decode_kept(Window& window) {
  size_t at = 0;
  for (const Segment& segment : window.segments) {
    encoder_->decode(window.packed(segment), window.raw.bytes().subspan(at, segment.raw_size));
    at += segment.raw_size;
  }
}

}  // namespace dvcr
