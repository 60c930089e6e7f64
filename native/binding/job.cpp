#include "job.h"

#include <algorithm>
#include <cstring>

namespace dvcr::binding {
namespace {

[[noreturn]] void throw_cancelled() {
  throw Error(code::kCancelled, "the import was cancelled");
}

}  // namespace

class PushedSource::Ranges final : public RangeReader {
 public:
  Ranges(Post post, uint64_t size) : post_(std::move(post)), size_(size) {}
  [[nodiscard]] uint64_t size() const override { return size_; }

  void answer(std::optional<Bytes> bytes) {
    std::lock_guard lock(mutex_);
    gone_ = gone_ || !bytes;
    answer_.emplace();
    if (bytes) answer_->assign(bytes->begin(), bytes->end());
    wake_.notify_all();
  }

  [[nodiscard]] bool are_gone() {
    std::lock_guard lock(mutex_);
    return gone_;
  }

  void cancel() {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    wake_.notify_all();
  }

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    std::unique_lock lock(mutex_);
    answer_.reset();
    post_(RangeAsked{offset, out.size()});
    wake_.wait(lock, [this] { return cancelled_ || answer_; });
    if (cancelled_) throw_cancelled();
    if (gone_) return false;
    if (answer_->size() != out.size()) throw Error(code::kSourceIo, "reading a range of the source failed");
    std::memcpy(out.data(), answer_->data(), out.size());
    return true;
  }

  Post post_;
  uint64_t size_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<std::vector<uint8_t>> answer_;
  bool gone_ = false;
  bool cancelled_ = false;
};

PushedSource::PushedSource(Post post, std::optional<uint64_t> size, std::optional<uint64_t> range_size)
    : post_(std::move(post)), size_(size) {
  if (range_size) ranges_ = std::make_unique<Ranges>(post_, *range_size);
}

PushedSource::~PushedSource() = default;

RangeReader* PushedSource::ranges() {
  return ranges_ == nullptr || ranges_->are_gone() ? nullptr : ranges_.get();
}

void PushedSource::push(uint32_t batch, std::vector<Bytes> chunks) {
  // One owner for the whole batch: it is released when its last chunk was read and hashed.
  std::shared_ptr<const void> owner(this, [post = post_, batch](const void*) { post(BatchReleased{batch}); });
  std::lock_guard lock(mutex_);
  for (Bytes chunk : chunks) {
    if (!chunk.empty()) queue_.push_back({chunk, owner});
  }
  wake_.notify_one();
}

void PushedSource::end() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  wake_.notify_one();
}

void PushedSource::cancel() {
  std::deque<SharedChunk> dropped;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    dropped.swap(queue_);
    wake_.notify_one();
  }
  if (ranges_) ranges_->cancel();
}

void PushedSource::range_answer(std::optional<Bytes> bytes) {
  if (ranges_) ranges_->answer(bytes);
}

SharedChunk PushedSource::next() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return cancelled_ || ended_ || !queue_.empty(); });
  if (cancelled_) throw_cancelled();
  if (queue_.empty()) return {};
  SharedChunk chunk = std::move(queue_.front());
  queue_.pop_front();
  return chunk;
}

PooledOutput::PooledOutput(Post post, std::vector<MutableBytes> buffers)
    : post_(std::move(post)), buffers_(std::move(buffers)) {
  for (size_t i = buffers_.size(); i-- > 0;) free_.push_back(static_cast<uint32_t>(i));
}

void PooledOutput::write(Bytes bytes) {
  while (!bytes.empty()) {
    if (!current_) {
      std::unique_lock lock(mutex_);
      freed_.wait(lock, [this] { return cancelled_ || !free_.empty(); });
      if (cancelled_) throw_cancelled();
      current_ = free_.back();
      free_.pop_back();
      filled_ = 0;
    }
    MutableBytes room = buffers_[*current_].subspan(filled_);
    size_t take = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), take);
    filled_ += take;
    bytes = bytes.subspan(take);
    if (take == room.size()) flush();
  }
}

void PooledOutput::flush() {
  if (!current_) return;
  uint32_t index = *current_;
  current_.reset();
  post_(OutputFilled{index, static_cast<uint32_t>(filled_)});
}

void PooledOutput::drop() {
  if (!current_) return;
  release(*current_);
  current_.reset();
}

void PooledOutput::release(uint32_t index) {
  std::lock_guard lock(mutex_);
  free_.push_back(index);
  freed_.notify_one();
}

void PooledOutput::cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  freed_.notify_all();
}

TarFrame BeginGate::ask(uint64_t size, std::string_view from, unsigned attempt) {
  std::unique_lock lock(mutex_);
  frame_.reset();
  post_(BeginAsked{size, std::string(from), attempt});
  wake_.wait(lock, [this] { return cancelled_ || frame_; });
  if (cancelled_) throw_cancelled();
  return std::move(*frame_);
}

void BeginGate::answer(TarFrame frame) {
  std::lock_guard lock(mutex_);
  frame_ = std::move(frame);
  wake_.notify_one();
}

void BeginGate::cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  wake_.notify_one();
}

}  // namespace dvcr::binding
