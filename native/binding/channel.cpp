#include "channel.h"

#include <atomic>
#include <optional>
#include <semaphore>
#include <thread>

#include "convert.h"
#include "core_thread.h"

namespace dvcr::binding {

/// Carries the events of background threads with a thread of ordinary priority. A call into Node holds a mutex that the
/// event loop wants as well; one who only runs on idle cores may lose its core while it holds it, and then every
/// request waits for both (with 50 imports on two cores: 15 % of the time). Handing over to this one takes no lock.
class Postman {
 public:
  /// Lives as long as the process: its thread may be asleep in here when the process ends.
  static Postman& instance() {
    static auto* postman = new Postman;
    return *postman;
  }

  /// `event`: none closes the channel.
  void take(std::shared_ptr<Channel> channel, std::optional<Event> event) {
    auto* mail = new Mail{std::move(channel), std::move(event), nullptr};
    Mail* older = newest_.load(std::memory_order_relaxed);
    do {
      mail->older = older;
    } while (!newest_.compare_exchange_weak(older, mail, std::memory_order_release, std::memory_order_relaxed));
    // Whoever found the box empty wakes the postman, who empties it; `mail` may be gone by now.
    if (older == nullptr) waiting_.release();
  }

 private:
  struct Mail {
    std::shared_ptr<Channel> channel;
    std::optional<Event> event;
    Mail* older;
  };

  Postman() {
    std::thread([this] { run(); }).detach();
  }

  [[noreturn]] void run() {
    pthread_setname_np(pthread_self(), "dvcr-postman");
    while (true) {
      waiting_.acquire();
      Mail* oldest = nullptr;
      for (Mail* mail = newest_.exchange(nullptr, std::memory_order_acquire); mail != nullptr;) {
        Mail* older = mail->older;
        mail->older = oldest;
        oldest = mail;
        mail = older;
      }
      while (oldest != nullptr) {
        const std::unique_ptr<Mail> mail(oldest);
        oldest = mail->older;
        if (mail->event) {
          mail->channel->deliver(std::move(*mail->event));
        } else {
          mail->channel->release();
        }
      }
    }
  }

  std::atomic<Mail*> newest_ = nullptr;
  std::counting_semaphore<> waiting_{0};
};

Channel::Channel(Napi::ThreadSafeFunction function) : function_(std::move(function)) {
  // Begun here, on the event loop's thread, so that it has that one's priority.
  if (in_background) Postman::instance();
}

void Channel::post(Event event) {
  if (in_background) {
    Postman::instance().take(shared_from_this(), std::move(event));
  } else {
    deliver(std::move(event));
  }
}

void Channel::close() {
  if (in_background) {
    Postman::instance().take(shared_from_this(), std::nullopt);
  } else {
    release();
  }
}

void Channel::deliver(Event event) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  auto boxed = std::make_unique<Event>(std::move(event));
  napi_status status = function_.NonBlockingCall(boxed.get(), [](Napi::Env env, Napi::Function callback, Event* raw) {
    const std::unique_ptr<Event> owned(raw);
    if (env != nullptr && callback != nullptr) callback.Call({to_event(env, *owned)});
  });
  if (status == napi_ok) static_cast<void>(boxed.release());
}

void Channel::release() {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  function_.Release();
}

void Channel::abandon() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

}  // namespace dvcr::binding
