// The threads behind a LayerBuilder. Items enter in order; the pool works on windows in any order; the digest and the
// output thread each take the finished items in order. The first error of any thread stops all of them and comes out
// of the front thread's next call.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "../import_memory.h"
#include "frames.h"
#include "kept_layer.h"
#include "layer_writer.h"

namespace dvcr {

class Pipeline {
 public:
  struct Setup {
    LayerCodec codec = LayerCodec::kGzip;   ///< of the layer
    LayerCodec stored = LayerCodec::kGzip;  ///< of the frames made: the layer's, zstd to keep an uncompressed one
    unsigned threads = 1;
    bool allow_nested = false;
    KeptLayer* kept = nullptr;  ///< takes the body's frames; may be nothing
  };

  Pipeline(LayerWriter& writer, std::shared_ptr<ImportMemory> memory) : writer_(writer), memory_(std::move(memory)) {}
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// Starts the threads.
  void start(const Setup& setup);
  /// What is pushed from now on is written and hashed (or not), and kept in scratch (or not).
  void route(bool live, bool keep);
  /// Starts a new layer and diffID. Only after drain() or before the first push.
  void begin_layer();

  // These wait for room, and throw the first error.
  std::unique_ptr<Window> acquire();
  void push(std::unique_ptr<Window> window);
  void push_zeros(uint64_t length);
  /// Tar bytes around the disk, and their frame (empty for an uncompressed layer).
  void push_literal(std::vector<uint8_t> plain, Buffer packed);
  /// Returns when everything pushed has passed every stage.
  void drain();
  void check();

  /// Windows are twice as large from now on: half as many are in flight.
  void use_large_windows();
  /// Stops every thread soon; the first call's error is the one that is seen. Any thread.
  void fail(std::exception_ptr error);
  /// Ends every thread and waits for it. Not from one of them.
  void stop();
  /// Hex of the tar's SHA-256, after drain().
  std::string finish_diff_id() { return diff_id_->finish(); }

 private:
  struct Item {
    std::unique_ptr<Window> window;
    uint64_t zeros = 0;
    std::vector<uint8_t> plain;
    Buffer packed;
    bool live = true;
    bool keep = false;
    bool ready = false;
    unsigned consumers = 2;
  };

  void enqueue(Item item);
  void work();
  void consume(void (Pipeline::*stage)(Item&));
  void digest(Item& item);
  void write(Item& item);
  void retire();
  [[nodiscard]] bool has_too_many() const;
  template <typename Body>
  void guarded(Body&& body);
  template <typename Condition>
  void front_wait(std::unique_lock<std::mutex>& lock, Condition&& until);
  template <typename Body>
  void in_slices(uint64_t length, uint64_t slice, Body&& body);

  LayerWriter& writer_;
  std::shared_ptr<ImportMemory> memory_;
  Setup setup_;
  std::optional<Digest> diff_id_;
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable front_;        // room, a free window, or nothing left
  std::condition_variable jobs_ready_;   // for workers
  std::condition_variable items_ready_;  // for the two consumers
  std::exception_ptr error_;             // the first; set before stopped_
  std::atomic<bool> stopped_ = false;
  bool live_ = true;
  bool keep_ = false;
  std::deque<Item> items_;
  uint64_t first_item_ = 0;  // number of items_.front(), counted from the start
  std::deque<Item*> jobs_;
  std::vector<std::unique_ptr<Window>> free_;
  unsigned windows_ = 0;  // made and not destroyed
  unsigned max_windows_ = 0;
};

}  // namespace dvcr
