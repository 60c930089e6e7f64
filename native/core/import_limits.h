// Every bound on what an input may make us hold, allocate or write. Defaults are documented in docs/limits.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dvcr {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;
inline constexpr uint64_t kTiB = 1024 * kGiB;

struct Limits {
  /// Largest virtual size, and largest unpacked size of a raw disk (bytes) -> E_TOO_LARGE.
  uint64_t max_virtual_size = 64 * kTiB;
  /// Memory that an outer decoder may ask for: xz dictionary, zstd window (bytes) -> E_DECODER_MEMORY.
  uint64_t max_decoder_memory = 256 * kMiB;
  /// Memory for mapping tables, claims and indexes of one image (bytes) -> E_METADATA_LIMIT.
  uint64_t max_metadata = 256 * kMiB;
  /// Bytes that arrived out of order and are held in memory before scratch is used.
  uint64_t hold_window = 16 * kMiB;
  /// Bytes that all scratch files of one import may hold together -> E_SCRATCH_LIMIT.
  uint64_t max_scratch = 64 * kGiB;
  /// Outer compressions around each other -> E_NESTED_COMPRESSION.
  unsigned max_compression_depth = 2;
};

}  // namespace dvcr
