#include "scratch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace dvcr {

namespace {

[[noreturn]] void throw_io(const char* action, int error) {
  throw Error(code::kScratchIo, std::string("scratch file: cannot ") + action + ": " +
                                    std::error_code(error, std::generic_category()).message());
}

}  // namespace

void ScratchBudget::take(uint64_t bytes) {
  uint64_t used = used_.load();
  do {
    if (bytes > limit_ || used > limit_ - bytes) {
      throw Error(code::kScratchLimit, "scratch space for " + std::to_string(used + bytes) +
                                           " bytes is needed, the limit is " + std::to_string(limit_));
    }
  } while (!used_.compare_exchange_weak(used, used + bytes));
  uint64_t peak = peak_.load();
  while (peak < used + bytes && !peak_.compare_exchange_weak(peak, used + bytes)) {
  }
}

void ScratchBudget::give_back(uint64_t bytes) {
  used_.fetch_sub(bytes);
}

ScratchFile::ScratchFile(std::string directory, ScratchBudget& budget)
    : directory_(std::move(directory)), budget_(budget) {}

ScratchFile::~ScratchFile() {
  if (fd_ >= 0) ::close(fd_);
  budget_.give_back(booked_);
}

void ScratchFile::open_file() {
  fd_ = ::open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
  if (fd_ >= 0) return;
  // Some file systems (NFS, older overlays) have no O_TMPFILE: make a file and take its name away at once.
  std::string path = directory_ + "/.dvcr-scratch-XXXXXX";
  fd_ = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd_ < 0) throw_io("create one", errno);
  if (::unlink(path.c_str()) != 0) throw_io("unlink it", errno);
}

void ScratchFile::book(uint64_t offset, uint64_t length) {
  uint64_t first = offset / kPage;
  uint64_t last = (offset + length - 1) / kPage;
  uint64_t fresh = 0;
  for (uint64_t page = first; page <= last; ++page) {
    auto group = pages_.find(page / kPagesPerGroup);
    if (group == pages_.end() || !group->second[page % kPagesPerGroup]) ++fresh;
  }
  if (fresh == 0) return;
  budget_.take(fresh * kPage);
  booked_ += fresh * kPage;
  for (uint64_t page = first; page <= last; ++page) pages_[page / kPagesPerGroup].set(page % kPagesPerGroup);
}

void ScratchFile::write_at(uint64_t offset, Bytes bytes) {
  if (bytes.empty()) return;
  book(offset, bytes.size());
  if (fd_ < 0) open_file();
  while (!bytes.empty()) {
    ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw_io("write", errno);
    bytes = bytes.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
}

void ScratchFile::read_at(uint64_t offset, MutableBytes out) const {
  while (fd_ >= 0 && !out.empty()) {
    ssize_t done = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw_io("read", errno);
    if (done == 0) break;  // behind the last byte written
    out = out.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
  std::fill(out.begin(), out.end(), uint8_t{0});
}

void ScratchFile::release(uint64_t offset, uint64_t length) {
  uint64_t first = div_ceil(offset, kPage);
  uint64_t end = (offset + length) / kPage;
  if (first >= end || fd_ < 0 || !can_punch_) return;
  if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first * kPage),
                  static_cast<off_t>((end - first) * kPage)) != 0) {
    can_punch_ = false;
    return;
  }
  uint64_t freed = 0;
  for (uint64_t page = first; page < end; ++page) {
    auto group = pages_.find(page / kPagesPerGroup);
    if (group == pages_.end()) {
      page |= kPagesPerGroup - 1;
      continue;
    }
    if (!group->second[page % kPagesPerGroup]) continue;
    group->second.reset(page % kPagesPerGroup);
    ++freed;
    if (group->second.none()) pages_.erase(group);
  }
  booked_ -= freed * kPage;
  budget_.give_back(freed * kPage);
}

}  // namespace dvcr
