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

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    while (!out.empty()) {
      ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw_errno("reading the source");
      if (got == 0) throw Error(code::kTruncated, "the source ends before byte " + std::to_string(offset + out.size()));
      out = out.subspan(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
    return true;
  }

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

uint64_t FdSource::skip_hole() {
  pool_->check();
  if (!size_ || position_ < next_hole_ || position_ >= *size_) return 0;
  // Devices and file systems that know of no holes answer with an error, or that all is data. The offset that this
  // moves is nobody's: files of known size are read by pread().
  const auto seek = [this](int whence) { return ::lseek(fd_, static_cast<off_t>(position_), whence); };
  const off_t data = seek(SEEK_DATA);
  const uint64_t data_begin = data >= 0 ? static_cast<uint64_t>(data) : errno == ENXIO ? *size_ : position_;
  if (data_begin > position_) {
    const uint64_t length = std::min(data_begin, *size_) - position_;
    position_ += length;
    return length;
  }
  const off_t hole = data < 0 ? -1 : seek(SEEK_HOLE);
  next_hole_ = hole < 0 ? *size_ : std::min(static_cast<uint64_t>(hole), *size_);
  return 0;
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
