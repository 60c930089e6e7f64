#include "chunk_pool.h"

namespace dvcr {
namespace {

constexpr size_t kMaxChunks = 16;

[[noreturn]] void throw_cancelled() {
  throw Error(code::kCancelled, "the import was cancelled");
}

}  // namespace

struct ChunkPool::State {
  std::mutex mutex;
  std::condition_variable returned;
  std::vector<std::unique_ptr<uint8_t[]>> idle;
  size_t made = 0;
  bool cancelled = false;
};

ChunkPool::ChunkPool() : state_(std::make_shared<State>()) {}

ChunkPool::~ChunkPool() = default;

std::unique_ptr<uint8_t[]> ChunkPool::take() {
  std::unique_lock lock(state_->mutex);
  state_->returned.wait(lock,
                        [this] { return state_->cancelled || !state_->idle.empty() || state_->made < kMaxChunks; });
  if (state_->cancelled) throw_cancelled();
  if (state_->idle.empty()) {
    ++state_->made;
    return std::make_unique_for_overwrite<uint8_t[]>(kChunkSize);
  }
  std::unique_ptr<uint8_t[]> buffer = std::move(state_->idle.back());
  state_->idle.pop_back();
  return buffer;
}

std::shared_ptr<const void> ChunkPool::share(std::unique_ptr<uint8_t[]> buffer) {
  return {buffer.release(), [state = state_](const void* memory) {
            std::lock_guard lock(state->mutex);
            state->idle.emplace_back(static_cast<uint8_t*>(const_cast<void*>(memory)));
            state->returned.notify_one();
          }};
}

void ChunkPool::cancel() {
  std::lock_guard lock(state_->mutex);
  state_->cancelled = true;
  state_->returned.notify_all();
}

void ChunkPool::check() const {
  std::lock_guard lock(state_->mutex);
  if (state_->cancelled) throw_cancelled();
}

}  // namespace dvcr
