// A bounded number of buffers that are handed out as shared chunks and come back when their last owner drops them.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "verify.h"

namespace dvcr {

/// At most 16 buffers of 256 KiB, made as they are needed.
class ChunkPool {
 public:
  // Small enough to stay in the L2 cache between the read and its use, large enough that a call does not show.
  static constexpr size_t kChunkSize = 256 * 1024;

  ChunkPool();
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  /// The bytes that `fill`, a `size_t(MutableBytes)`, writes into a free buffer. Waits for one; throws kCancelled.
  template <typename Fill>
  SharedChunk make(Fill fill) {
    std::unique_ptr<uint8_t[]> buffer = take();
    size_t filled = fill(MutableBytes(buffer.get(), kChunkSize));
    Bytes bytes(buffer.get(), filled);
    return {bytes, share(std::move(buffer))};
  }
  /// Makes make() throw kCancelled. Any thread.
  void cancel();
  /// Throws kCancelled after cancel().
  void check() const;

 private:
  struct State;
  std::unique_ptr<uint8_t[]> take();
  std::shared_ptr<const void> share(std::unique_ptr<uint8_t[]> buffer);

  std::shared_ptr<State> state_;  // chunks may outlive the pool
};

}  // namespace dvcr
