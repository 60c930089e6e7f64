// Random access on top of a stream that is read only once: what stands before a wanted place is held back,
// in memory up to a window and then in scratch, because a later table may point at it.
//
// This is how every disk format stays a plain reader in guest order and still works in one forward pass:
// an image written in order never holds anything; one written out of order holds just that part.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "byte_source.h"
#include "claims.h"
#include "held_bytes.h"
#include "import_limits.h"
#include "scratch.h"

namespace dvcr {

class ImageReader {
 public:
  /// `scratch_directory` is where held bytes go beyond limits.hold_window.
  ImageReader(ByteSource& source, const Limits& limits, ScratchBudget& budget, std::string scratch_directory);
  ~ImageReader();

  /// Fills `out` with the bytes at host `offset`, reading the stream forward as far as needed. Bytes skipped on
  /// the way are held unless they are zero or lie in a discarded range. Reading releases what was held, a 512-byte
  /// sector at a time when a read reaches the sector's end: what is read again gives zeros, so callers claim() first.
  /// Throws kTruncated naming `what` past the end, at once where the size of the stream is known.
  void read_at(uint64_t offset, MutableBytes out, const char* what);
  /// Like read_at, but stops at the end of the stream and returns the number of bytes read.
  size_t read_some_at(uint64_t offset, MutableBytes out);
  /// For small tables that may stand far ahead (a moved L1, a footer): fetched by range where the origin can,
  /// so that nothing need be held; else, and when too many were fetched so, as read_at. The stream's own bytes are
  /// compared when they pass: kSourceIo when they differ, as checksums are taken of the stream alone.
  void read_metadata_at(uint64_t offset, MutableBytes out, const char* what);
  /// Holds bytes that were read at `offset` because they share a sector with wanted ones, for a later read.
  void put_back(uint64_t offset, Bytes bytes);
  /// Bytes in this host range are not needed by anyone: they are not held when they pass. Only a hint:
  /// when there are too many ranges some are held all the same.
  void discard(uint64_t offset, uint64_t length);
  /// Reads the stream to its end, holding nothing; returns its total length in bytes.
  uint64_t drain();

  /// Host offset of the next byte of the stream.
  [[nodiscard]] uint64_t position() const { return position_; }
  /// Total size when it is known, else nothing.
  [[nodiscard]] std::optional<uint64_t> size() const { return source_.size(); }
  [[nodiscard]] bool has_ranges() { return source_.ranges() != nullptr; }
  /// The underlying stream, for formats that are read strictly forward (raw).
  ByteSource& stream() { return source_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  bool skip_to(uint64_t offset);
  void skip_held(uint64_t end);
  void skip_discarded(uint64_t end);
  void advance(Bytes passed);
  void compare_prefetched(Bytes passed);

  ByteSource& source_;
  Limits limits_;
  uint64_t position_ = 0;
  std::unique_ptr<HeldBytes> held_;
  std::map<uint64_t, uint64_t> discards_;  // start -> end, ahead of or around the position
  struct Prefetched;
  std::multimap<uint64_t, Prefetched> prefetched_;  // by start; what the stream still has to confirm
};

}  // namespace dvcr
