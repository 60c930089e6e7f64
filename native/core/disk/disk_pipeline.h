// The threads behind a DiskSink. The first error of any of them stops all and comes out of the front thread's next
// call.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <thread>

#include "../hash.h"
#include "disk_window.h"

namespace dvcr {

class DiskPipeline {
 public:
  /// `output` and `digests`, which get the disk's bytes in order, outlive this.
  DiskPipeline(DiskOutput& output, std::vector<Digest>& digests) : output_(output), digests_(digests) {}
  ~DiskPipeline();
  DiskPipeline(const DiskPipeline&) = delete;
  DiskPipeline& operator=(const DiskPipeline&) = delete;

  /// Starts the threads: `threads` that compute. `check_first` is called with the disk's first window.
  void start(unsigned threads, std::function<void(Bytes)> check_first);

  // These wait for room, and throw the first error. One thread.
  std::unique_ptr<DiskWindow> acquire();
  void push(std::unique_ptr<DiskWindow> window);
  void push_zeros(uint64_t offset, uint64_t length);
  /// Returns when everything pushed was written.
  void drain();
  void check();
  /// Windows are twice as large from now on: fewer are in flight.
  void use_large_windows();

  /// Stops every thread soon. Any thread.
  void fail(std::exception_ptr error);
  /// Ends every thread and waits for it. Not from one of them.
  void stop();

 private:
  struct Item {
    std::unique_ptr<DiskWindow> window;
    uint64_t offset = 0;
    uint64_t zeros = 0;
    bool ready = false;
  };

  void enqueue(Item item);
  void work();
  void prepare(DiskWindow& window, std::vector<uint8_t>& bounce);
  void write(DiskWindow& window);
  void keep_order();
  void take_in_order(Item& item);
  template <typename Body>
  void guarded(Body&& body);
  template <typename Condition>
  void front_wait(std::unique_lock<std::mutex>& lock, Condition&& until);

  DiskOutput& output_;
  std::vector<Digest>& digests_;
  std::function<void(Bytes)> check_first_;
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable front_;       // room, a free window, or nothing left
  std::condition_variable jobs_ready_;  // for workers
  std::condition_variable item_ready_;  // for the order thread
  std::exception_ptr error_;            // the first; set before stopped_
  std::atomic<bool> stopped_ = false;
  std::deque<Item> items_;  // in the disk's order, until everything about them is done
  std::deque<Item*> jobs_;
  std::vector<std::unique_ptr<DiskWindow>> free_;
  unsigned windows_ = 0;  // made and not destroyed
  unsigned max_windows_ = 0;
};

}  // namespace dvcr
