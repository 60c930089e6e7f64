#include "disk_pipeline.h"

#include <algorithm>

#include "../core_thread.h"
#include "../cpu_turn.h"
#include "../zero_bytes.h"

namespace dvcr {
namespace {

// While workers wait for the disk others compute: so many more than there are cores.
constexpr unsigned kWaiting = 2;
// A window in flight is 1 MiB of content, and its packed form where the source has one.
constexpr unsigned kSpareWindows = 3;
constexpr unsigned kMostWindows = 12;
constexpr unsigned kLeastWindows = 3;
// Items without a window are small, but a disk may have any number of them.
constexpr size_t kMostItems = 128;

Error cancelled() {
  return {code::kCancelled, "the export was cancelled"};
}

}  // namespace

DiskPipeline::~DiskPipeline() {
  stop();
}

void DiskPipeline::stop() {
  fail(std::make_exception_ptr(cancelled()));
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void DiskPipeline::start(unsigned threads, std::function<void(Bytes)> check_first) {
  check_first_ = std::move(check_first);
  const unsigned workers = std::max(1u, threads) + (output_.in_order() ? 0 : kWaiting);
  max_windows_ = std::min(workers + kSpareWindows, kMostWindows);
  const std::shared_ptr<CpuAccount> account = CpuAccount::current();
  for (unsigned i = 0; i < workers; ++i) {
    threads_.emplace_back([this, account] {
      const CoreThread thread("dvcr-disk", account);
      work();
    });
  }
  threads_.emplace_back([this, account] {
    const CoreThread thread("dvcr-disk-order", account);
    keep_order();
  });
}

template <typename Condition>
void DiskPipeline::front_wait(std::unique_lock<std::mutex>& lock, Condition&& until) {
  front_.wait(lock, [&] { return stopped_ || until(); });
  if (stopped_) std::rethrow_exception(error_);
}

std::unique_ptr<DiskWindow> DiskPipeline::acquire() {
  std::unique_lock lock(mutex_);
  front_wait(lock, [&] { return !free_.empty() || windows_ < max_windows_; });
  if (free_.empty()) {
    ++windows_;
    return std::make_unique<DiskWindow>();
  }
  auto window = std::move(free_.back());
  free_.pop_back();
  return window;
}

void DiskPipeline::push(std::unique_ptr<DiskWindow> window) {
  Item item;
  item.window = std::move(window);
  enqueue(std::move(item));
}

void DiskPipeline::push_zeros(uint64_t offset, uint64_t length) {
  Item item;
  item.offset = offset;
  item.zeros = length;
  item.ready = true;
  enqueue(std::move(item));
}

void DiskPipeline::enqueue(Item item) {
  std::unique_lock lock(mutex_);
  front_wait(lock, [&] { return items_.size() < kMostItems; });
  items_.push_back(std::move(item));
  Item& queued = items_.back();
  if (queued.window != nullptr) {
    jobs_.push_back(&queued);
    jobs_ready_.notify_one();
  } else {
    item_ready_.notify_one();
  }
}

void DiskPipeline::drain() {
  std::unique_lock lock(mutex_);
  front_wait(lock, [&] { return items_.empty(); });
}

void DiskPipeline::check() {
  if (!stopped_) return;
  const std::lock_guard lock(mutex_);
  std::rethrow_exception(error_);
}

void DiskPipeline::use_large_windows() {
  const std::lock_guard lock(mutex_);
  max_windows_ = std::max(kLeastWindows, max_windows_ / 2);
}

void DiskPipeline::fail(std::exception_ptr error) {
  {
    const std::lock_guard lock(mutex_);
    if (error_ == nullptr) error_ = std::move(error);
    stopped_ = true;
    front_.notify_all();
    jobs_ready_.notify_all();
    item_ready_.notify_all();
  }
  output_.cancel();
}

template <typename Body>
void DiskPipeline::guarded(Body&& body) {
  try {
    body();
  } catch (const Error&) {
    fail(std::current_exception());
  } catch (const std::exception& error) {
    fail(std::make_exception_ptr(Error(code::kInternal, error.what())));
  }
}

void DiskPipeline::work() {
  guarded([this] {
    std::vector<uint8_t> bounce;
    std::unique_lock lock(mutex_);
    for (;;) {
      jobs_ready_.wait(lock, [&] { return stopped_ || !jobs_.empty(); });
      if (stopped_) return;
      Item& item = *jobs_.front();
      jobs_.pop_front();
      lock.unlock();
      {
        const CpuTurn turn;
        prepare(*item.window, bounce);
      }
      if (!output_.in_order()) write(*item.window);
      lock.lock();
      item.ready = true;
      item_ready_.notify_one();
    }
  });
}

void DiskPipeline::prepare(DiskWindow& window, std::vector<uint8_t>& bounce) {
  window.decode_units(bounce);
  if (window.offset == 0) check_first_(window.bytes());
  window.find_runs(output_.hole());
  window.packed = output_.pack(window.offset, window.bytes());
}

void DiskPipeline::write(DiskWindow& window) {
  // What stands behind the disk's end in its last sector is zeros.
  const size_t padded = std::min((window.filled + kDiskAlign - 1) / kDiskAlign * kDiskAlign, window.allocated);
  if (window.filled % kDiskAlign != 0)
    std::fill(window.content.get() + window.filled, window.content.get() + padded, 0);
  for (const DiskWindow::Run& run : window.runs) {
    if (run.zeros) {
      output_.zeros(window.offset + run.begin, run.end - run.begin);
    } else {
      output_.write(window.offset + run.begin, window.bytes().subspan(run.begin, run.end - run.begin), window.packed);
    }
  }
}

void DiskPipeline::keep_order() {
  guarded([this] {
    std::unique_lock lock(mutex_);
    for (;;) {
      item_ready_.wait(lock, [&] { return stopped_ || (!items_.empty() && items_.front().ready); });
      if (stopped_) return;
      Item& item = items_.front();
      lock.unlock();
      take_in_order(item);
      lock.lock();
      if (item.window != nullptr) {
        if (windows_ > max_windows_) {
          --windows_;
        } else {
          item.window->filled = 0;  // empty: it has no place on the disk yet
          free_.push_back(std::move(item.window));
        }
      }
      items_.pop_front();
      front_.notify_all();
    }
  });
}

void DiskPipeline::take_in_order(Item& item) {
  const auto hash = [this](Bytes bytes) {
    if (digests_.empty()) return;
    const CpuTurn turn;
    for (Digest& digest : digests_) digest.update(bytes);
  };
  if (item.window == nullptr) {
    output_.zeros(item.offset, item.zeros);
    for (uint64_t left = digests_.empty() ? 0 : item.zeros; left > 0 && !stopped_;) {
      const Bytes part = zero_bytes(left);
      hash(part);
      left -= part.size();
    }
    return;
  }
  if (output_.in_order()) write(*item.window);
  hash(item.window->bytes());
  for (const auto& [observer, host_offset, consumed] : item.window->observed) {
    if (observer != nullptr) observer->unit_decoded(host_offset, consumed);
  }
  for (const DiskWindow::Unit& entry : item.window->units) {
    if (entry.unit.observer != nullptr) entry.unit.observer->unit_decoded(entry.unit.host_offset, entry.consumed);
  }
}

}  // namespace dvcr
