// What every thread of the core is for as long as it runs.
#pragma once

#include <pthread.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace dvcr {

/// Threads that begin from now on run only where no thread of ordinary priority wants the core: for a process that
/// answers people while it converts.
inline std::atomic<bool> in_background = false;

/// The CPU time of one job's threads, of those that have ended too. Any thread.
class CpuAccount {
 public:
  [[nodiscard]] double seconds() const;
  /// That of the job which the calling thread works for; nothing outside of one.
  static std::shared_ptr<CpuAccount> current();

  /// Threads that the calling one begins in its scope work for the job of this account.
  class Use {
   public:
    explicit Use(std::shared_ptr<CpuAccount> account);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::shared_ptr<CpuAccount> before_;
  };

 private:
  friend class CoreThread;
  void enter(clockid_t clock);
  void leave(clockid_t clock);

  mutable std::mutex mutex_;
  std::vector<clockid_t> running_;
  double ended_ = 0;
};

/// On the calling thread until its end: names it, as /proc, top and profilers show it (at most 15 characters), gives it
/// its priority, and counts its time in `account`.
class CoreThread {
 public:
  CoreThread(const char* name, std::shared_ptr<CpuAccount> account);
  ~CoreThread();
  CoreThread(const CoreThread&) = delete;
  CoreThread& operator=(const CoreThread&) = delete;

 private:
  std::shared_ptr<CpuAccount> account_;
  CpuAccount::Use use_;
  clockid_t clock_{};
};

}  // namespace dvcr
