#include "cpu_turn.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace dvcr {
namespace {

using namespace std::chrono_literals;

constexpr int kThreads = 8;

/// The most of kThreads that had a turn at the same time, each several times. They hold theirs until `expected` have
/// one, or it has become hopeless, and a little longer for one too many to come.
int most_at_once(int expected) {
  const auto hopeless = std::chrono::steady_clock::now() + 10s;
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  const auto take = [&] {
    const CpuTurn turn;
    const int here = ++now;
    for (int seen = most; here > seen && !most.compare_exchange_weak(seen, here);) {
    }
    while (most < expected && std::chrono::steady_clock::now() < hopeless) std::this_thread::yield();
    std::this_thread::sleep_for(1ms);
    --now;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 10; ++k) take();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return most;
}

class CpuTurnLimit : public testing::Test {
 protected:
  void TearDown() override { CpuTurn::limit(0); }
};

TEST_F(CpuTurnLimit, IsReachedAndNeverExceeded) {
  for (const int limit : {1, 3}) {
    CpuTurn::limit(static_cast<unsigned>(limit));
    EXPECT_EQ(most_at_once(limit), limit);
  }
}

TEST_F(CpuTurnLimit, IsNoneAtTheStart) {
  EXPECT_EQ(most_at_once(kThreads), kThreads);
}

}  // namespace
}  // namespace dvcr
