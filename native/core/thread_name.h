// Names for threads, as /proc, top and profilers show them.
#pragma once

#include <pthread.h>

namespace dvcr {

/// Names the calling thread; at most 15 characters are kept by the system.
inline void name_thread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

}  // namespace dvcr
