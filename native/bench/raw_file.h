// A disk's content into a raw file, with the holes that `qemu-img convert` leaves; nothing else. Units are decoded and
// windows written by a pool, as in the product's pipeline, but there is no layer and no digest.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "extent_sink.h"

namespace dvcr::bench {

class RawFile final : public ExtentSink {
 public:
  /// `fd`: an empty file that is open for writing and outlives this. `threads`: workers.
  RawFile(int fd, unsigned threads);
  ~RawFile() override;
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  MutableBytes reserve(size_t want) override;
  void commit(size_t count) override;
  void zero(uint64_t length) override;
  MutableBytes reserve_unit(size_t packed, size_t unit_size) override;
  void commit_unit(const CompressedUnit& unit) override;
  /// Waits until everything is written and gives the file its length. Throws what a worker met.
  void finish();

 private:
  struct Unit {
    CompressedUnit unit;
    size_t packed_at;
    size_t at;
    size_t consumed;
  };
  struct Window {
    uint64_t guest = 0;
    size_t filled = 0;
    size_t packed_used = 0;
    std::vector<uint8_t> content;
    std::vector<uint8_t> packed;
    std::vector<Unit> units;
    bool done = false;
  };
  Window& window_with(size_t room);
  void push();
  void work();
  void process(Window& window);
  void write_data(uint64_t offset, Bytes bytes);
  void retire();
  void rethrow();

  int fd_;
  size_t most_windows_;
  uint64_t position_ = 0;  // guest bytes taken
  std::unique_ptr<Window> open_;

  std::mutex mutex_;
  std::condition_variable front_;
  std::condition_variable jobs_ready_;
  std::deque<std::unique_ptr<Window>> windows_;  // in guest order, until their units were observed
  std::deque<Window*> jobs_;
  std::vector<std::unique_ptr<Window>> free_;
  std::exception_ptr error_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace dvcr::bench
