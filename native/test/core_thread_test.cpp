#include "core_thread.h"

#include <gtest/gtest.h>

#include <ctime>
#include <thread>

namespace dvcr {
namespace {

/// Computes until the calling thread has taken so many seconds of a core.
void spin(double seconds) {
  constexpr double kNanosecond = 1e-9;
  timespec time{};
  do {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  } while (static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * kNanosecond < seconds);
}

TEST(CpuAccount, CountsThreadsThatRunAndThatHaveEnded) {
  const auto account = std::make_shared<CpuAccount>();
  std::thread([&account] {
    const CoreThread thread("outer", account);
    spin(0.02);
    EXPECT_GE(account->seconds(), 0.02);
    // Its own threads are of the same job.
    std::thread([inherited = CpuAccount::current()] {
      const CoreThread inner("inner", inherited);
      spin(0.02);
    }).join();
  }).join();
  EXPECT_GE(account->seconds(), 0.04);
  EXPECT_EQ(CpuAccount::current(), nullptr);
}

TEST(CpuAccount, IsInUseWithinAScopeOnly) {
  const auto account = std::make_shared<CpuAccount>();
  {
    const CpuAccount::Use use(account);
    EXPECT_EQ(CpuAccount::current(), account);
  }
  EXPECT_EQ(CpuAccount::current(), nullptr);
  EXPECT_EQ(account->seconds(), 0);
}

}  // namespace
}  // namespace dvcr
