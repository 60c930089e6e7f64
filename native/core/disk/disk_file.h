// A file or block device written and read around the page cache, so that a disk of any size passes through a pod's
// memory limit: O_DIRECT where it works, else buffered with what was written sent out and dropped.
#pragma once

#include <atomic>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>

#include "disk_output.h"

namespace dvcr {

struct FreeAligned {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
using AlignedBuffer = std::unique_ptr<uint8_t[], FreeAligned>;
/// `size` uninitialised bytes, a multiple of kDiskAlign, at an address that direct I/O takes.
AlignedBuffer make_aligned(size_t size);

class DiskFile {
 public:
  /// `fd` stays the caller's. `direct`: false to leave O_DIRECT off, for tests.
  explicit DiskFile(int fd, bool direct = true);

  /// `bytes` at `offset`, both multiples of kDiskAlign. Any thread. Throws kDiskIo, kDiskFull.
  void write(uint64_t offset, Bytes bytes);
  /// Fills `out` from `offset`, both multiples of kDiskAlign; fewer bytes only at the end. Any thread. Throws kDiskIo.
  size_t read(uint64_t offset, MutableBytes out);
  /// Makes [offset, offset+length) read as zeros without allocating it; false where the file or device cannot.
  bool punch(uint64_t offset, uint64_t length);
  /// Makes the range read as zeros, allocated or not. Throws kDiskIo.
  void write_zeros(uint64_t offset, uint64_t length);
  /// Bytes that it has, of a device too. Throws kDiskIo.
  [[nodiscard]] uint64_t length() const;
  void truncate(uint64_t size);
  /// Returns when everything written is on the medium. Throws kDiskIo, kDiskFull.
  void sync();
  /// Bytes written so far. Any thread.
  [[nodiscard]] uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  struct Range {
    uint64_t offset;
    uint64_t length;
  };
  void stop_direct();
  void send_out(Range range);
  void drop(Range range);

  int fd_;
  std::atomic<bool> direct_ = false;
  std::atomic<uint64_t> written_ = 0;
  std::mutex mutex_;
  std::deque<Range> on_their_way_;  // buffered writes that were started and not waited for
  uint64_t bytes_on_their_way_ = 0;
};

/// Throws the Error for a failed call that writes a disk: kDiskFull or kDiskIo. `what` names the call's purpose.
[[noreturn]] void throw_disk_error(const char* what, int error);

}  // namespace dvcr
