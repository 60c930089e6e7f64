// What every thread of the core does first.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <atomic>

namespace dvcr {

/// Threads that begin from now on run only where no thread of ordinary priority wants the core: for a process that
/// answers people while it converts.
inline std::atomic<bool> in_background = false;

/// Names the calling thread, as /proc, top and profilers show it (at most 15 characters), and gives it its priority.
inline void begin_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
  // Linux keeps the policy by thread, and threads of libraries have it from the one that starts them. A thread that is
  // only "nice" would finish its slice, milliseconds, before one that wakes gets the core; an idle one gives way at
  // once.
  const sched_param none{};
  if (in_background) sched_setscheduler(0, SCHED_IDLE, &none);
}

}  // namespace dvcr
