// The verify stage: every byte of the source passes here once, in shared chunks, so that digests are taken on threads
// of their own without a copy, also over bytes that no decoder ever asks for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "byte_source.h"
#include "hash.h"

namespace dvcr {

/// Bytes with shared ownership; dropping the last owner gives the memory back to where it came from.
struct SharedChunk {
  Bytes bytes;
  std::shared_ptr<const void> owner;
};

/// Where chunks come from: a file descriptor or the event loop.
class ChunkSource {
 public:
  virtual ~ChunkSource() = default;
  /// The next chunk, empty at the end. Blocks; throws kCancelled or kSourceIo.
  virtual SharedChunk next() = 0;
  /// Fills `out` directly where the origin can do that without a chunk (0 bytes: at the end); only called when
  /// direct() is true, and then never mixed with an unfinished chunk.
  virtual size_t read_direct(MutableBytes) { return 0; }
  [[nodiscard]] virtual bool direct() const { return false; }
  /// As ByteSource::skip_hole(), under the conditions of read_direct().
  virtual uint64_t skip_hole() { return 0; }
  [[nodiscard]] virtual std::optional<uint64_t> size() const { return std::nullopt; }
  virtual RangeReader* ranges() { return nullptr; }
};

/// A wanted checksum. `expected` is lower-case hex, empty to only report what was found.
struct Checksum {
  std::string algorithm;
  std::string expected;
};

class VerifySource final : public ByteSource {
 public:
  VerifySource(ChunkSource& chunks, const std::vector<Checksum>& checksums);
  ~VerifySource() override;
  Bytes peek() override;
  void consume(size_t count) override;
  size_t read(MutableBytes out) override;
  uint64_t skip_hole() override;
  [[nodiscard]] std::optional<uint64_t> size() const override { return chunks_.size(); }
  RangeReader* ranges() override { return chunks_.ranges(); }
  /// Reads what is left of the source, then compares every checksum; returns those found. Throws kChecksum naming the
  /// first that differs (`<algo> sum mismatch: <expected> != <actual>`), kTruncated or kSizeMismatch when the source
  /// had another length than it said.
  std::vector<Checksum> finish();
  /// Bytes taken from the source so far. Any thread.
  [[nodiscard]] uint64_t total() const { return total_.load(std::memory_order_relaxed); }

 private:
  class Hasher;
  ChunkSource& chunks_;
  std::vector<Checksum> wanted_;
  std::vector<std::unique_ptr<Hasher>> hashers_;
  SharedChunk current_;
  bool ended_ = false;
  std::atomic<uint64_t> total_{0};
  bool next_chunk();
  [[nodiscard]] bool may_pass_directly() const;
};

class ChunkPool;

/// Reads an open file or device from its start. The descriptor stays the caller's.
class FdSource final : public ChunkSource {
 public:
  /// `size` in bytes for a regular file or block device; nothing for a pipe, which then has no ranges.
  FdSource(int fd, std::optional<uint64_t> size);
  ~FdSource() override;
  SharedChunk next() override;
  size_t read_direct(MutableBytes out) override;
  [[nodiscard]] bool direct() const override { return true; }
  uint64_t skip_hole() override;
  [[nodiscard]] std::optional<uint64_t> size() const override { return size_; }
  RangeReader* ranges() override { return ranges_.get(); }
  /// Makes next() and read_direct() throw kCancelled. Any thread.
  void cancel();

 private:
  size_t read_some(MutableBytes out);
  int fd_;
  std::optional<uint64_t> size_;
  uint64_t position_ = 0;
  uint64_t next_hole_ = 0;  // there is none before this byte; the size where there may be none at all
  std::unique_ptr<RangeReader> ranges_;
  std::unique_ptr<ChunkPool> pool_;
};

}  // namespace dvcr
