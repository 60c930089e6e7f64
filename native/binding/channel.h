// The way of a job's events to the event loop.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>

#include "job.h"

namespace dvcr::binding {

/// Open until the job ended. Events after that are dropped: their receivers are gone.
class Channel final : public std::enable_shared_from_this<Channel> {
 public:
  /// Event loop: `function` gets the events.
  explicit Channel(Napi::ThreadSafeFunction function);

  /// Any thread; events of one thread arrive in their order.
  void post(Event event);
  /// Any thread. Nothing is heard from the one that calls this afterwards.
  void close();
  /// Event loop: the environment is going away and took the function with it.
  void abandon();

 private:
  friend class Postman;
  void deliver(Event event);
  void release();

  std::mutex mutex_;
  Napi::ThreadSafeFunction function_;
  bool closed_ = false;
};

}  // namespace dvcr::binding
