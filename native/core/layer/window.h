// A stretch of the disk on its way through the pipeline. How the disk is cut into windows is a matter of scheduling
// alone: frames.h decides the layer's bytes by guest offset, not by window.
#pragma once

#include <vector>

#include "buffer.h"

namespace dvcr {

/// A compressed unit inside a window.
struct WindowUnit {
  CompressedUnit unit;
  size_t slot;              ///< where its slot begins in `arena`: kWrapBefore, packed bytes, kWrapAfter
  size_t at;                ///< where its content begins in `raw`
  bool decoded;             ///< by the front thread already, so only the observer waits for it
  size_t consumed;          ///< packed bytes that decoding used
  size_t wrapped_at = 0;    ///< where its frame begins in `arena`
  size_t wrapped_size = 0;  ///< bytes of that frame; 0: its content is compressed again
};

/// Finished frames, in guest order.
struct Segment {
  enum class From : uint8_t { kFrames, kArena, kZeros };
  From from;
  size_t offset;    ///< in Window::frames or Window::arena
  size_t size;      ///< packed bytes
  size_t raw_size;  ///< bytes of the disk
};

struct Window {
  uint64_t guest_offset = 0;
  size_t capacity = 0;  ///< bytes of the disk it may hold
  bool kept = false;    ///< frames that come back from scratch: segments are given, raw is to be decoded
  Buffer raw;           ///< content of the disk
  Buffer arena;         ///< packed units, or kept frames
  Buffer frames;        ///< frames made here
  std::vector<WindowUnit> units;
  std::vector<Segment> segments;

  void clear() {
    kept = false;
    raw.truncate(0);
    arena.truncate(0);
    frames.truncate(0);
    units.clear();
    segments.clear();
  }
  [[nodiscard]] size_t room() const { return capacity - raw.size(); }
  [[nodiscard]] Bytes packed(const Segment& segment) const {
    return (segment.from == Segment::From::kArena ? arena : frames).bytes().subspan(segment.offset, segment.size);
  }
};

}  // namespace dvcr
