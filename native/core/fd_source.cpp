// Files, devices and pipes by descriptor: the core reads them itself, so their bytes never pass the event loop.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "chunk_pool.h"

namespace dvcr {
namespace {

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

FdSource::FdSource(int fd, std::optional<uint64_t> size)
    : fd_(fd),
      size_(size),
      ranges_(size ? std::make_unique<FdRanges>(fd, *size) : nullptr),
      pool_(std::make_unique<ChunkPool>()) {
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
  pool_->check();
  return read_some(out);
}

SharedChunk FdSource::next() {
  return pool_->make([this](MutableBytes out) { return read_some(out); });
}

void FdSource::cancel() {
  pool_->cancel();
}

}  // namespace dvcr
