// What every thread of the core does first.
#pragma once

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>

namespace dvcr {

/// Threads that begin from now on run only where no thread of ordinary priority wants the core: for a process that
/// answers people while it converts.
inline std::atomic<bool> in_background = false;

/// Names the calling thread, as /proc, top and profilers show it (at most 15 characters), and gives it its priority.
inline void begin_thread(const char* name) {
  constexpr int kLowest = 19;
  pthread_setname_np(pthread_self(), name);
  // Linux keeps the value by thread, and threads of libraries have it from the one that starts them.
  if (in_background) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLowest);
}

}  // namespace dvcr
