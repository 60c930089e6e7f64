// What a disk image emits: extents in guest order, each byte of the disk exactly once.
#pragma once

#include "bytes.h"

namespace dvcr {

/// How the bytes of a compressed cluster or grain are packed.
enum class UnitCodec : uint8_t {
  kDeflate,  ///< raw deflate (qcow2 type 0, RFC 1951)
  kZlib,     ///< zlib-wrapped deflate (VMDK grains, RFC 1950)
  kZstd,     ///< one or more zstd frames (qcow2 type 1, RFC 8878)
};

/// Told about each unit after it was decoded, in guest order, from a thread of the pipeline.
class UnitObserver {
 public:
  virtual ~UnitObserver() = default;
  /// `consumed` is the number of bytes of the unit that its decoder really used. May throw Error.
  virtual void unit_decoded(uint64_t host_offset, size_t consumed) = 0;
};

/// One compressed cluster or grain, still packed.
struct CompressedUnit {
  UnitCodec codec = UnitCodec::kDeflate;
  uint64_t host_offset = 0;  ///< for messages and for the observer
  size_t packed_size = 0;    ///< bytes written into the span of reserve_unit(); the stream may end before
  size_t unit_size = 0;      ///< bytes that decoding must give (the whole cluster)
  size_t min_size = 0;       ///< fewest decoded bytes accepted; the rest up to unit_size reads as zeros
  size_t guest_size = 0;     ///< how many of them belong to the disk (less in its last cluster)
  UnitObserver* observer = nullptr;
};

/// Takes the disk's content in guest order. Calls come from one thread and may block (back-pressure).
/// Every call may throw the pipeline's first error, also one that an earlier unit caused.
class ExtentSink {
 public:
  virtual ~ExtentSink() = default;
  /// Room for guest bytes at the frontier: 1 to `want` bytes, to be filled in place.
  virtual MutableBytes reserve(size_t want) = 0;
  /// The first `count` bytes of the last reserve() are now disk content.
  virtual void commit(size_t count) = 0;
  /// `length` bytes of zeros.
  virtual void zero(uint64_t length) = 0;
  /// Room for a packed unit of up to `packed` bytes that decodes to `unit_size` bytes (<= 2 MiB).
  virtual MutableBytes reserve_unit(size_t packed, size_t unit_size) = 0;
  /// The unit in the last reserve_unit() is the disk's next `unit.guest_size` bytes.
  virtual void commit_unit(const CompressedUnit& unit) = 0;
};

inline constexpr size_t kMaxUnitSize = 2u << 20;

}  // namespace dvcr
