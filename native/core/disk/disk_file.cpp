#include "disk_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "../import_limits.h"

namespace dvcr {
namespace {

/// Written pages that may wait in the cache where O_DIRECT does not work.
constexpr uint64_t kMostInCache = 8 * kMiB;

}  // namespace

AlignedBuffer make_aligned(size_t size) {
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kDiskAlign, size));
  if (memory == nullptr) throw std::bad_alloc();
  return AlignedBuffer(memory);
}

void throw_disk_error(const char* what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  const bool denied = error == EROFS || error == EPERM || error == EACCES;
  throw Error(full     ? code::kDiskFull
              : denied ? code::kDiskDenied
                       : code::kDiskIo,
              std::string(what) + " failed: " + std::strerror(error));
}

DiskFile::DiskFile(int fd, bool direct) : fd_(fd) {
  const int flags = ::fcntl(fd_, F_GETFL);
  if (!direct || flags < 0) return;
  // Some file systems take the flag and refuse the first write (EINVAL); tmpfs refuses the flag.
  direct_ = ::fcntl(fd_, F_SETFL, flags | O_DIRECT) == 0;
}

void DiskFile::stop_direct() {
  direct_ = false;
  ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) & ~O_DIRECT);
}

void DiskFile::write(uint64_t offset, Bytes bytes) {
  const Range whole{offset, bytes.size()};
  while (!bytes.empty()) {
    const bool direct = direct_;
    const ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EINVAL && direct) {
      stop_direct();
      continue;
    }
    if (done <= 0) throw_disk_error("writing to the disk", done == 0 ? ENOSPC : errno);
    // A direct write that ends within a sector met the end of the space: the next one says why.
    bytes = bytes.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
    written_.fetch_add(static_cast<uint64_t>(done), std::memory_order_relaxed);
    if (direct && offset % kDiskAlign != 0 && !bytes.empty()) stop_direct();
  }
  if (!direct_) send_out(whole);
}

void DiskFile::send_out(Range range) {
  ::sync_file_range(fd_, static_cast<off_t>(range.offset), static_cast<off_t>(range.length), SYNC_FILE_RANGE_WRITE);
  const std::lock_guard lock(mutex_);
  on_their_way_.push_back(range);
  bytes_on_their_way_ += range.length;
  while (bytes_on_their_way_ > kMostInCache) {
    drop(on_their_way_.front());
    bytes_on_their_way_ -= on_their_way_.front().length;
    on_their_way_.pop_front();
  }
}

// Where a file system knows neither call, the cache is only as large as the kernel lets it be.
void DiskFile::drop(Range range) {
  const auto offset = static_cast<off_t>(range.offset);
  const auto length = static_cast<off_t>(range.length);
  ::sync_file_range(fd_, offset, length,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  ::posix_fadvise(fd_, offset, length, POSIX_FADV_DONTNEED);
}

size_t DiskFile::read(uint64_t offset, MutableBytes out) {
  const Range whole{offset, out.size()};
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EINVAL && direct_) {
      stop_direct();
      continue;
    }
    if (got < 0) throw_disk_error("reading the disk back", errno);
    if (got == 0) break;
    done += static_cast<size_t>(got);
    // The end of a file: what follows is no whole sector.
    if (direct_ && done % kDiskAlign != 0) break;
  }
  if (!direct_) {
    ::posix_fadvise(fd_, static_cast<off_t>(whole.offset), static_cast<off_t>(whole.length), POSIX_FADV_DONTNEED);
  }
  return done;
}

bool DiskFile::punch(uint64_t offset, uint64_t length) {
  while (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(length)) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM || errno == EINVAL) return false;
    throw_disk_error("punching a hole into the disk", errno);
  }
  return true;
}

void DiskFile::write_zeros(uint64_t offset, uint64_t length) {
  const AlignedBuffer zeros = make_aligned(kMiB);
  std::memset(zeros.get(), 0, kMiB);
  while (length > 0) {
    const uint64_t part = std::min(length, kMiB);
    write(offset, Bytes(zeros.get(), static_cast<size_t>(part)));
    offset += part;
    length -= part;
  }
}

uint64_t DiskFile::length() const {
  uint64_t size = 0;
  if (::ioctl(fd_, BLKGETSIZE64, &size) == 0) return size;
  struct stat status {};
  if (::fstat(fd_, &status) != 0) throw_disk_error("looking up the disk's length", errno);
  return static_cast<uint64_t>(status.st_size);
}

void DiskFile::truncate(uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) throw_disk_error("setting the disk's length", errno);
}

void DiskFile::sync() {
  if (::fsync(fd_) != 0) throw_disk_error("storing the disk durably", errno);
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace dvcr
