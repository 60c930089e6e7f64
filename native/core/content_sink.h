// Where the content of one disk goes, from its first byte to its last: a container layer, or a disk.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "error.h"
#include "extent_sink.h"

namespace dvcr {

/// How the size of the disk is known when its first byte comes (design: docs/architecture.md, "Unknown length").
struct SizePlan {
  std::optional<uint64_t> size;  ///< bytes; nothing: only the end of the content tells
  bool exact = true;             ///< false: `size` is a hint
  std::string from;              ///< what `sizeFrom` in the report says: content-length, header, xz-index, …
  bool keep_body = true;         ///< false with an inexact size: the source can be had again, so a wrong hint ends with
                                 ///< SizeHintWrong instead of being repaired from scratch
};

/// Thrown by finish() where a hint was wrong and no body was kept: run again with this size, exactly.
class SizeHintWrong : public Error {
 public:
  explicit SizeHintWrong(uint64_t actual_size)
      : Error(code::kSizeMismatch, "the hinted size was wrong"), actual(actual_size) {}
  uint64_t actual;  ///< bytes
};

/// A sink with a beginning and an end. start(), the extents and finish() come from one thread, in this order.
class ContentSink : public ExtentSink {
 public:
  /// True when nothing can be written before the size is known: then a plan without one costs scratch.
  [[nodiscard]] virtual bool needs_size() const = 0;
  /// Call first. With an exact size the disk must have just that many bytes (kSizeMismatch at finish()).
  virtual void start(const SizePlan& plan) = 0;
  /// Ends the disk and waits for every stage. The caller has checked the source by then.
  virtual void finish() = 0;
  /// Ends all waiting calls with kCancelled. Any thread.
  virtual void cancel() = 0;
  /// Cancels and waits until no thread touches the output, or the observers of units, any more. Not while another
  /// thread is in a call.
  virtual void stop() = 0;
  /// Bytes of disk content committed so far. Any thread.
  [[nodiscard]] virtual uint64_t disk_bytes() const = 0;
};

}  // namespace dvcr
