#include "raw_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "codec.h"
#include "import_limits.h"

namespace dvcr::bench {
namespace {

constexpr size_t kWindow = kMaxUnitSize;
/// As `qemu-img convert -S 4k`, its default.
constexpr size_t kHole = 4 * kKiB;

}  // namespace

RawFile::RawFile(int fd, unsigned threads) : fd_(fd), most_windows_(threads + 3) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

RawFile::~RawFile() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    jobs_.clear();
  }
  jobs_ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void RawFile::rethrow() {
  if (error_ != nullptr) std::rethrow_exception(error_);
}

RawFile::Window& RawFile::window_with(size_t room) {
  if (open_ != nullptr && kWindow - open_->filled < room) push();
  if (open_ != nullptr) return *open_;
  std::unique_lock lock(mutex_);
  front_.wait(lock, [&] { return error_ != nullptr || !free_.empty() || windows_.size() < most_windows_; });
  rethrow();
  if (free_.empty()) {
    open_ = std::make_unique<Window>();
    open_->content.resize(kWindow);
  } else {
    open_ = std::move(free_.back());
    free_.pop_back();
  }
  open_->guest = position_;
  open_->filled = open_->packed_used = 0;
  open_->units.clear();
  open_->done = false;
  return *open_;
}

void RawFile::push() {
  if (open_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  jobs_.push_back(open_.get());
  windows_.push_back(std::move(open_));
  jobs_ready_.notify_one();
}

MutableBytes RawFile::reserve(size_t want) {
  Window& window = window_with(1);
  return MutableBytes(window.content).subspan(window.filled, std::min(want, kWindow - window.filled));
}

void RawFile::commit(size_t count) {
  open_->filled += count;
  position_ += count;
}

// A short run stays in its window, where the worker finds it; a long one costs nothing.
void RawFile::zero(uint64_t length) {
  if (open_ != nullptr && length <= kWindow - open_->filled) {
    std::memset(open_->content.data() + open_->filled, 0, static_cast<size_t>(length));
    open_->filled += static_cast<size_t>(length);
  } else {
    push();
  }
  position_ += length;
}

MutableBytes RawFile::reserve_unit(size_t packed, size_t unit_size) {
  Window& window = window_with(unit_size);
  if (window.packed.size() < window.packed_used + packed) window.packed.resize(window.packed_used + packed);
  return MutableBytes(window.packed).subspan(window.packed_used, packed);
}

void RawFile::commit_unit(const CompressedUnit& unit) {
  open_->units.push_back({unit, open_->packed_used, open_->filled, 0});
  open_->packed_used += unit.packed_size;
  open_->filled += unit.guest_size;
  position_ += unit.guest_size;
}

void RawFile::finish() {
  push();
  std::unique_lock lock(mutex_);
  front_.wait(lock, [&] { return error_ != nullptr || windows_.empty(); });
  rethrow();
  if (::ftruncate(fd_, static_cast<off_t>(position_)) != 0) {
    throw Error(code::kSourceIo, std::string("setting the file's length failed: ") + std::strerror(errno));
  }
}

void RawFile::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    jobs_ready_.wait(lock, [&] { return ended_ || !jobs_.empty(); });
    if (ended_) return;
    Window& window = *jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    std::exception_ptr error;
    try {
      process(window);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    window.done = true;
    if (error_ == nullptr) error_ = error;
    if (error_ == nullptr) retire();
    front_.notify_all();
  }
}

void RawFile::process(Window& window) {
  for (Unit& entry : window.units) {
    const CompressedUnit& unit = entry.unit;
    const MutableBytes room = MutableBytes(window.content).subspan(entry.at, unit.unit_size);
    const DecodedUnit decoded = decode_unit(unit.codec, slice(window.packed, entry.packed_at, unit.packed_size), room);
    if (decoded.produced < unit.min_size) throw Error(code::kCorruptCluster, "a unit is too short");
    std::fill(room.begin() + static_cast<std::ptrdiff_t>(decoded.produced), room.end(), uint8_t{0});
    entry.consumed = decoded.consumed;
  }
  const Bytes content = Bytes(window.content).first(window.filled);
  for (size_t at = 0; at < content.size();) {
    size_t end = at;
    while (end < content.size() && !is_zero(content.subspan(end, std::min(kHole, content.size() - end)))) {
      end = std::min(end + kHole, content.size());
    }
    write_data(window.guest + at, content.subspan(at, end - at));
    at = end + kHole;
  }
}

void RawFile::write_data(uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw Error(code::kSourceIo, std::string("writing failed: ") + std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

// Units are observed in guest order, whoever decoded them.
void RawFile::retire() {
  while (!windows_.empty() && windows_.front()->done) {
    std::unique_ptr<Window> window = std::move(windows_.front());
    windows_.pop_front();
    try {
      for (const Unit& entry : window->units) {
        if (entry.unit.observer != nullptr) entry.unit.observer->unit_decoded(entry.unit.host_offset, entry.consumed);
      }
    } catch (...) {
      error_ = std::current_exception();
      return;
    }
    free_.push_back(std::move(window));
  }
}

}  // namespace dvcr::bench
