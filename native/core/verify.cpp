#include "verify.h"

#include <algorithm>

#include "core_thread.h"
#include "cpu_turn.h"

namespace dvcr {

// One digest on a thread of its own. The queue needs no bound: the chunks in it are memory that its source counts.
class VerifySource::Hasher {
 public:
  explicit Hasher(const std::string& algorithm)
      : digest_(algorithm), account_(CpuAccount::current()), thread_([this] { run(); }) {}
  ~Hasher() { join(); }
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void push(SharedChunk chunk) {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back(std::move(chunk));
    }
    wake_.notify_one();
  }

  std::string finish() {
    join();
    return digest_.finish();
  }

 private:
  void join() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  void run() {
    const CoreThread thread("dvcr-checksum", account_);
    for (;;) {
      SharedChunk chunk;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closed_ || !queue_.empty(); });
        if (queue_.empty()) return;
        chunk = std::move(queue_.front());
        queue_.pop_front();
      }
      const CpuTurn turn;
      digest_.update(chunk.bytes);
    }
  }

  Digest digest_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<SharedChunk> queue_;
  bool closed_ = false;
  std::shared_ptr<CpuAccount> account_;
  std::thread thread_;
};

VerifySource::VerifySource(ChunkSource& chunks, const std::vector<Checksum>& checksums)
    : chunks_(chunks), wanted_(checksums) {
  for (const Checksum& wanted : wanted_) hashers_.push_back(std::make_unique<Hasher>(wanted.algorithm));
}

VerifySource::~VerifySource() = default;

bool VerifySource::next_chunk() {
  if (ended_) return false;
  current_ = {};
  current_ = chunks_.next();
  if (current_.bytes.empty()) {
    ended_ = true;
    return false;
  }
  total_.fetch_add(current_.bytes.size(), std::memory_order_relaxed);
  for (auto& hasher : hashers_) hasher->push(current_);
  return true;
}

Bytes VerifySource::peek() {
  if (current_.bytes.empty()) next_chunk();
  return current_.bytes;
}

void VerifySource::consume(size_t count) {
  current_.bytes = current_.bytes.subspan(count);
  if (current_.bytes.empty()) current_ = {};
}

// Digests must see every byte, and an unfinished chunk comes first.
bool VerifySource::may_pass_directly() const {
  return current_.bytes.empty() && hashers_.empty() && chunks_.direct() && !ended_;
}

uint64_t VerifySource::skip_hole() {
  if (!may_pass_directly()) return 0;
  const uint64_t length = chunks_.skip_hole();
  total_.fetch_add(length, std::memory_order_relaxed);
  return length;
}

size_t VerifySource::read(MutableBytes out) {
  size_t done = 0;
  while (done < out.size()) {
    if (may_pass_directly()) {
      size_t got = chunks_.read_direct(out.subspan(done));
      if (got == 0) ended_ = true;
      total_.fetch_add(got, std::memory_order_relaxed);
      done += got;
      if (got == 0) break;
      continue;
    }
    Bytes next = peek();
    if (next.empty()) break;
    size_t take = std::min(next.size(), out.size() - done);
    std::memcpy(out.data() + done, next.data(), take);
    consume(take);
    done += take;
  }
  return done;
}

std::vector<Checksum> VerifySource::finish() {
  for (Bytes rest = peek(); !rest.empty(); rest = peek()) consume(rest.size());
  std::optional<uint64_t> said = chunks_.size();
  if (said && *said != total()) {
    throw Error(total() < *said ? code::kTruncated : code::kSizeMismatch,
                "the source gave " + std::to_string(total()) + " bytes instead of " + std::to_string(*said));
  }
  std::vector<Checksum> found;
  for (auto& hasher : hashers_) found.push_back({wanted_[found.size()].algorithm, hasher->finish()});
  for (size_t i = 0; i < found.size(); ++i) {
    if (!wanted_[i].expected.empty() && wanted_[i].expected != found[i].expected) {
      throw Error(code::kChecksum,
                  found[i].algorithm + " sum mismatch: " + wanted_[i].expected + " != " + found[i].expected);
    }
  }
  return found;
}

}  // namespace dvcr
