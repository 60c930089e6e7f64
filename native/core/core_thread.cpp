#include "core_thread.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace dvcr {
namespace {

thread_local std::shared_ptr<CpuAccount> current_account;

double seconds_of(clockid_t clock) {
  constexpr double kNanosecond = 1e-9;
  timespec time{};
  if (clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * kNanosecond;
}

}  // namespace

double CpuAccount::seconds() const {
  const std::lock_guard lock(mutex_);
  double sum = ended_;
  for (const clockid_t clock : running_) sum += seconds_of(clock);
  return sum;
}

std::shared_ptr<CpuAccount> CpuAccount::current() {
  return current_account;
}

CpuAccount::Use::Use(std::shared_ptr<CpuAccount> account)
    : before_(std::exchange(current_account, std::move(account))) {}

CpuAccount::Use::~Use() {
  current_account = std::move(before_);
}

void CpuAccount::enter(clockid_t clock) {
  const std::lock_guard lock(mutex_);
  running_.push_back(clock);
}

void CpuAccount::leave(clockid_t clock) {
  const std::lock_guard lock(mutex_);
  ended_ += seconds_of(clock);
  running_.erase(std::find(running_.begin(), running_.end(), clock));
}

CoreThread::CoreThread(const char* name, std::shared_ptr<CpuAccount> account)
    : account_(std::move(account)), use_(account_) {
  constexpr int kLowest = 19;
  pthread_setname_np(pthread_self(), name);
  // Linux keeps the value by thread, and threads of libraries have it from the one that starts them.
  if (in_background) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLowest);
  if (account_ == nullptr) return;
  pthread_getcpuclockid(pthread_self(), &clock_);
  account_->enter(clock_);
}

CoreThread::~CoreThread() {
  if (account_ != nullptr) account_->leave(clock_);
}

}  // namespace dvcr
