// One import or inspection between JavaScript and the core: threads on one side, the event loop on the other.
//
// The event loop only moves references. Source chunks go in by the batch and their JavaScript owners are told by number
// when the core is done with them; layer bytes come out in buffers that JavaScript made once and gives back by number.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "disk/disk_sink.h"
#include "layer/layer_builder.h"
#include "session.h"

namespace dvcr::binding {

/// What the core has to say to JavaScript; one struct per kind.
struct BatchReleased {
  uint32_t batch;
};
struct OutputFilled {
  uint32_t index;
  uint32_t length;
};
struct BeginAsked {
  uint64_t size;
  std::string from;
  unsigned attempt;
};
struct RangeAsked {
  uint64_t offset;
  uint64_t length;
};
struct ImageFound {
  ImageReport report;
};
struct LayerListed {
  LayerListing listing;
};
struct Inspected {
  ImageReport report;
};
struct Imported {
  SessionResult result;
  LayerResult layer;
};
struct Exported {
  SessionResult result;
  DiskResult disk;
  uint64_t written;                   ///< bytes
  std::vector<std::string> warnings;  ///< of the output
};
struct Failed {
  std::string code;
  std::string message;
  std::optional<uint64_t> actual_size;  ///< set for a wrong hint on a replayable source
};
using Event = std::variant<BatchReleased, OutputFilled, BeginAsked, RangeAsked, ImageFound, LayerListed, Inspected,
                           Imported, Exported, Failed>;

/// Delivers an event to the event loop. Any thread. Never blocks.
using Post = std::function<void(Event)>;

/// Source chunks pushed from the event loop.
class PushedSource final : public ChunkSource {
 public:
  PushedSource(Post post, std::optional<uint64_t> size, std::optional<uint64_t> range_size);
  ~PushedSource() override;
  /// Event loop: `chunks` stay valid until BatchReleased{batch} is posted.
  void push(uint32_t batch, std::vector<Bytes> chunks);
  void end();
  void cancel();
  /// Event loop: the answer to RangeAsked; nothing where the source offers no ranges any more.
  void range_answer(std::optional<Bytes> bytes);

  SharedChunk next() override;
  [[nodiscard]] std::optional<uint64_t> size() const override { return size_; }
  RangeReader* ranges() override;

 private:
  class Ranges;
  Post post_;
  std::optional<uint64_t> size_;
  std::unique_ptr<Ranges> ranges_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<SharedChunk> queue_;
  bool ended_ = false;
  bool cancelled_ = false;
};

/// Layer bytes copied into JavaScript's own buffers, each posted when it is full.
class PooledOutput final : public LayerOutput {
 public:
  PooledOutput(Post post, std::vector<MutableBytes> buffers);
  void write(Bytes bytes) override;
  /// Posts the buffer that is not full yet. A new push attempt or the end of the layer.
  void flush();
  /// Forgets the buffer that is not full yet (the attempt it belonged to is void).
  void drop();
  /// Event loop: buffer `index` may be filled again.
  void release(uint32_t index);
  void cancel();

 private:
  Post post_;
  std::vector<MutableBytes> buffers_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<uint32_t> free_;
  std::optional<uint32_t> current_;
  size_t filled_ = 0;
  bool cancelled_ = false;
};

/// A question that the core asks the event loop and waits for.
class BeginGate {
 public:
  explicit BeginGate(Post post) : post_(std::move(post)) {}
  TarFrame ask(uint64_t size, std::string_view from, unsigned attempt);
  void answer(TarFrame frame);
  void cancel();

 private:
  Post post_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<TarFrame> frame_;
  bool cancelled_ = false;
};

}  // namespace dvcr::binding
