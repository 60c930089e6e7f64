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

std::atomic<unsigned> most = 0;
std::mutex mutex;
unsigned taken = 0;
std::deque<Waiter*> waiting;

}  // namespace

CpuTurn::CpuTurn() : counted_(most > 0) {
  if (!counted_) return;
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
