#include "cpu_turn.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>

namespace dvcr {
namespace {

struct Waiter {
  std::condition_variable wake;
  bool has_turn = false;
};

struct Line {
  std::mutex mutex;
  unsigned taken = 0;
  std::deque<Waiter*> waiting;
};

/// Lives as long as the process: threads may stand in it while the process ends.
Line& line() {
  static auto* const only = new Line;
  return *only;
}

std::atomic<unsigned> most = 0;

}  // namespace

CpuTurn::CpuTurn() : counted_(most > 0) {
  if (!counted_) return;
  auto& [mutex, taken, waiting] = line();
  std::unique_lock lock(mutex);
  if (taken < most) {
    ++taken;
    return;
  }
  Waiter me;
  waiting.push_back(&me);
  me.wake.wait(lock, [&me] { return me.has_turn; });
}

CpuTurn::~CpuTurn() {
  if (!counted_) return;
  auto& [mutex, taken, waiting] = line();
  const std::lock_guard lock(mutex);
  if (waiting.empty()) {
    --taken;
    return;
  }
  // Handed over: given back, the thread that has a core would take it again at once.
  Waiter& next = *waiting.front();
  waiting.pop_front();
  next.has_turn = true;
  next.wake.notify_one();
}

void CpuTurn::limit(unsigned turns) {
  most = turns;
}

}  // namespace dvcr
