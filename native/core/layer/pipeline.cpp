#include "pipeline.h"

#include "../core_thread.h"
#include "../cpu_turn.h"

namespace dvcr {
namespace {

// Items without a window are small, but a disk may have any number of them.
constexpr size_t kMostItems = 128;

}  // namespace

Pipeline::~Pipeline() {
  stop();
  memory_->give_back(windows_);
}

void Pipeline::stop() {
  fail(std::make_exception_ptr(Error(code::kCancelled, "the import was cancelled")));
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Pipeline::start(const Setup& setup) {
  setup_ = setup;
  setup_.threads = std::max(1u, setup.threads);
  max_windows_ = std::min(4 + 2 * setup_.threads, ImportMemory::kMostWindows);
  const std::shared_ptr<CpuAccount> account = CpuAccount::current();
  for (unsigned i = 0; i < setup_.threads; ++i) {
    threads_.emplace_back([this, account] {
      const CoreThread thread("dvcr-frames", account);
      work();
    });
  }
  threads_.emplace_back([this, account] {
    const CoreThread thread("dvcr-diffid", account);
    consume(&Pipeline::digest);
  });
  threads_.emplace_back([this, account] {
    const CoreThread thread("dvcr-layer", account);
    consume(&Pipeline::write);
  });
}

void Pipeline::route(bool live, bool keep) {
  live_ = live;
  keep_ = keep;
}

void Pipeline::begin_layer() {
  diff_id_.emplace("sha256");
  writer_.begin();
}

template <typename Condition>
void Pipeline::front_wait(std::unique_lock<std::mutex>& lock, Condition&& until) {
  front_.wait(lock, [&] { return stopped_ || until(); });
  if (stopped_) std::rethrow_exception(error_);
}

std::unique_ptr<Window> Pipeline::acquire() {
  std::unique_lock lock(mutex_);
  // One that may not have more gets its own back: three are always in its hands.
  front_wait(lock, [&] {
    return !free_.empty() || windows_ < ImportMemory::kLeastWindows ||
           (windows_ < max_windows_ && memory_->allows_another());
  });
  if (free_.empty()) {
    ++windows_;
    memory_->take();
    return std::make_unique<Window>();
  }
  auto window = std::move(free_.back());
  free_.pop_back();
  return window;
}

void Pipeline::push(std::unique_ptr<Window> window) {
  Item item;
  item.window = std::move(window);
  enqueue(std::move(item));
}

void Pipeline::push_zeros(uint64_t length) {
  Item item;
  item.zeros = length;
  enqueue(std::move(item));
}

void Pipeline::push_literal(std::vector<uint8_t> plain, Buffer packed) {
  Item item;
  item.plain = std::move(plain);
  item.packed = std::move(packed);
  enqueue(std::move(item));
}

void Pipeline::enqueue(Item item) {
  item.live = live_;
  item.keep = keep_;
  std::unique_lock lock(mutex_);
  front_wait(lock, [&] { return items_.size() < kMostItems; });
  items_.push_back(std::move(item));
  Item& queued = items_.back();
  if (queued.window != nullptr) {
    jobs_.push_back(&queued);
    jobs_ready_.notify_one();
  } else {
    queued.ready = true;
    items_ready_.notify_all();
  }
}

void Pipeline::drain() {
  std::unique_lock lock(mutex_);
  front_wait(lock, [&] { return items_.empty(); });
}

void Pipeline::check() {
  if (!stopped_) return;
  const std::lock_guard lock(mutex_);
  std::rethrow_exception(error_);
}

void Pipeline::use_large_windows() {
  const std::lock_guard lock(mutex_);
  max_windows_ = std::max(ImportMemory::kLeastWindows, max_windows_ / 2);
  while (windows_ > max_windows_ && !free_.empty()) {
    free_.pop_back();
    --windows_;
    memory_->give_back(1);
  }
}

bool Pipeline::has_too_many() const {
  return windows_ > max_windows_ || (windows_ > ImportMemory::kLeastWindows && memory_->is_exceeded());
}

void Pipeline::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (error_ == nullptr) error_ = std::move(error);
  stopped_ = true;
  front_.notify_all();
  jobs_ready_.notify_all();
  items_ready_.notify_all();
}

template <typename Body>
void Pipeline::guarded(Body&& body) {
  try {
    body();
  } catch (const Error&) {
    fail(std::current_exception());
  } catch (const std::exception& error) {
    fail(std::make_exception_ptr(Error(code::kInternal, error.what())));
  }
}

void Pipeline::work() {
  guarded([this] {
    FrameCutter cutter(setup_.stored, setup_.allow_nested);
    std::unique_lock lock(mutex_);
    for (;;) {
      jobs_ready_.wait(lock, [&] { return stopped_ || !jobs_.empty(); });
      if (stopped_) return;
      Item& item = *jobs_.front();
      jobs_.pop_front();
      lock.unlock();
      {
        const CpuTurn turn;
        cutter.run(*item.window);
      }
      lock.lock();
      item.ready = true;
      items_ready_.notify_all();
    }
  });
}

void Pipeline::consume(void (Pipeline::*stage)(Item&)) {
  guarded([this, stage] {
    std::unique_lock lock(mutex_);
    for (uint64_t number = 0;; ++number) {
      items_ready_.wait(lock, [&] {
        return stopped_ || (number - first_item_ < items_.size() && items_[number - first_item_].ready);
      });
      if (stopped_) return;
      Item& item = items_[number - first_item_];
      lock.unlock();
      (this->*stage)(item);
      lock.lock();
      --item.consumers;
      retire();
    }
  });
}

void Pipeline::retire() {
  while (!items_.empty() && items_.front().consumers == 0) {
    if (auto window = std::move(items_.front().window); window != nullptr) {
      if (has_too_many()) {
        --windows_;
        memory_->give_back(1);
      } else {
        window->clear();
        free_.push_back(std::move(window));
      }
    }
    items_.pop_front();
    ++first_item_;
    front_.notify_all();
  }
}

// A run of zeros may take hours; it ends when everything stops.
template <typename Body>
void Pipeline::in_slices(uint64_t length, uint64_t slice, Body&& body) {
  while (length > 0 && !stopped_) {
    const uint64_t part = std::min(length, slice);
    body(part);
    length -= part;
  }
}

void Pipeline::digest(Item& item) {
  const auto hash = [this](Bytes bytes) {
    const CpuTurn turn;
    diff_id_->update(bytes);
  };
  if (item.live) {
    in_slices(item.zeros, zero_bytes().size(), [&](uint64_t length) { hash(zero_bytes(length)); });
    hash(item.window != nullptr ? item.window->raw.bytes() : Bytes(item.plain));
  }
  if (item.window == nullptr) return;
  for (const WindowUnit& entry : item.window->units) {
    if (entry.unit.observer != nullptr) entry.unit.observer->unit_decoded(entry.unit.host_offset, entry.consumed);
  }
}

void Pipeline::write(Item& item) {
  const bool plain_layer = setup_.codec == LayerCodec::kNone;
  const auto to_layer = [&](const Segment& segment) {
    if (segment.from == Segment::From::kZeros) {
      writer_.zeros(segment.raw_size);
    } else {
      writer_.frame(item.window->packed(segment));
    }
  };
  const auto to_kept = [&](const Segment& segment) {
    if (segment.from == Segment::From::kZeros) {
      setup_.kept->zeros(segment.raw_size);
    } else {
      setup_.kept->frame(item.window->packed(segment), segment.raw_size);
    }
  };
  if (item.window != nullptr) {
    if (item.live && plain_layer) writer_.frame(item.window->raw.bytes());
    for (const Segment& segment : item.window->segments) {
      if (item.live && !plain_layer) to_layer(segment);
      if (item.keep) to_kept(segment);
    }
  } else if (item.zeros > 0) {
    if (item.live) in_slices(item.zeros, kLongestZeroFrame, [&](uint64_t length) { writer_.zeros(length); });
    if (item.keep) setup_.kept->zeros(item.zeros);
  } else if (item.live) {
    writer_.frame(plain_layer ? Bytes(item.plain) : item.packed.bytes());
  }
}

}  // namespace dvcr
