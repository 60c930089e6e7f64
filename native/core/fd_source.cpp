// Files, devices and pipes by descriptor: the core reads them itself, so their bytes never pass the event loop.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "verify.h"

namespace dvcr {
namespace {

// Small enough to stay in the L2 cache between the read and its use, large enough that the call does not show.
constexpr size_t kChunkSize = 256 * 1024;
constexpr size_t kPoolChunks = 16;

[[noreturn]] void throw_errno(const char* what) {
  throw Error(code::kSourceIo, std::string(what) + " failed: " + std::strerror(errno));
}

class FdRanges final : public RangeReader {
 public:
  FdRanges(int fd, uint64_t size) : fd_(fd), size_(size) {}
  [[nodiscard]] uint64_t size() const override { return size_; }
  void read_at(uint64_t offset, MutableBytes out) override {
    while (!out.empty()) {
      ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw_errno("reading the source");
      if (got == 0) throw Error(code::kTruncated, "the source ends before byte " + std::to_string(offset + out.size()));
      out = out.subspan(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
  }

 private:
  int fd_;
  uint64_t size_;
};

}  // namespace

struct FdSource::Pool {
  std::mutex mutex;
  std::condition_variable returned;
  std::vector<std::unique_ptr<uint8_t[]>> idle;
  size_t made = 0;
  bool cancelled = false;
};

FdSource::FdSource(int fd, std::optional<uint64_t> size)
    : fd_(fd),
      size_(size),
      ranges_(size ? std::make_unique<FdRanges>(fd, *size) : nullptr),
      pool_(std::make_shared<Pool>()) {
  if (size_) ::posix_fadvise(fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
}

FdSource::~FdSource() = default;

size_t FdSource::read_some(MutableBytes out) {
  // A file that grows while it is read must not give more than its size said.
  if (size_) out = out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), *size_ - position_)));
  if (out.empty()) return 0;
  for (;;) {
    ssize_t got = size_ ? ::pread(fd_, out.data(), out.size(), static_cast<off_t>(position_))
                        : ::read(fd_, out.data(), out.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("reading the source");
    position_ += static_cast<uint64_t>(got);
    return static_cast<size_t>(got);
  }
}

size_t FdSource::read_direct(MutableBytes out) {
  {
    std::lock_guard lock(pool_->mutex);
    if (pool_->cancelled) throw Error(code::kCancelled, "the import was cancelled");
  }
  return read_some(out);
}

SharedChunk FdSource::next() {
  std::unique_ptr<uint8_t[]> buffer;
  {
    std::unique_lock lock(pool_->mutex);
    pool_->returned.wait(lock,
                         [this] { return pool_->cancelled || !pool_->idle.empty() || pool_->made < kPoolChunks; });
    if (pool_->cancelled) throw Error(code::kCancelled, "the import was cancelled");
    if (pool_->idle.empty()) {
      buffer = std::make_unique_for_overwrite<uint8_t[]>(kChunkSize);
      ++pool_->made;
    } else {
      buffer = std::move(pool_->idle.back());
      pool_->idle.pop_back();
    }
  }
  size_t filled = read_some({buffer.get(), kChunkSize});
  uint8_t* raw = buffer.get();
  std::shared_ptr<const void> owner(buffer.release(), [pool = pool_](const void* memory) {
    std::lock_guard lock(pool->mutex);
    pool->idle.emplace_back(static_cast<uint8_t*>(const_cast<void*>(memory)));
    pool->returned.notify_one();
  });
  return {Bytes(raw, filled), std::move(owner)};
}

void FdSource::cancel() {
  std::lock_guard lock(pool_->mutex);
  pool_->cancelled = true;
  pool_->returned.notify_all();
}

}  // namespace dvcr
