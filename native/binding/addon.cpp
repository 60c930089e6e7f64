// The module's surface: classes Job and ImportMemory, libraryVersions(), encoderId(), freeChunks(), runInService() and
// selfSigned(). See src/native/addon.ts for the typed side.
#include <malloc.h>
#include <napi.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "certificate.h"
#include "codec.h"
#include "core_thread.h"
#include "cpu_turn.h"
#include "layer/layer_builder.h"
#include "work.h"

namespace dvcr::binding {
namespace {

/// The way to the event loop, open until the job ended. Posts after that are dropped: their receivers are gone.
class Channel {
 public:
  explicit Channel(Napi::ThreadSafeFunction function) : function_(std::move(function)) {}

  void post(Event event) {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    auto* boxed = new Event(std::move(event));
    napi_status status = function_.NonBlockingCall(boxed, [](Napi::Env env, Napi::Function callback, Event* raw) {
      std::unique_ptr<Event> owned(raw);
      if (env != nullptr && callback != nullptr) callback.Call({to_event(env, *owned)});
    });
    if (status != napi_ok) delete boxed;
  }

  void close() {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    function_.Release();
  }

  /// The environment is going away and took the function with it.
  void abandon() {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  std::mutex mutex_;
  Napi::ThreadSafeFunction function_;
  bool closed_ = false;
};

class Job final : public Napi::ObjectWrap<Job> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Job",
                       {
                           InstanceMethod<&Job::push>("push"),
                           InstanceMethod<&Job::end>("end"),
                           InstanceMethod<&Job::release_output>("releaseOutput"),
                           InstanceMethod<&Job::begin>("begin"),
                           InstanceMethod<&Job::range>("range"),
                           InstanceMethod<&Job::cancel_from_js>("cancel"),
                           InstanceMethod<&Job::source_bytes>("sourceBytes"),
                           InstanceMethod<&Job::disk_bytes>("diskBytes"),
                           InstanceMethod<&Job::scratch_bytes>("scratchBytes"),
                           InstanceMethod<&Job::cpu_seconds>("cpuSeconds"),
                       });
  }

  explicit Job(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Job>(info) {
    Napi::Object options = info[0].As<Napi::Object>();
    config_ = to_config(options);
    // Keeps the output buffers and the callback's world alive as long as threads may write into them.
    options_ = Napi::Persistent(options);
    Ref();
    auto function = Napi::ThreadSafeFunction::New(info.Env(), info[1].As<Napi::Function>(), "dvcr job", 0, 1,
                                                  [this](Napi::Env) { finalize(); });
    channel_ = std::make_shared<Channel>(std::move(function));
    Post post = [channel = channel_](Event event) { channel->post(std::move(event)); };
    if (config_.fd) {
      file_ = std::make_unique<FdSource>(*config_.fd, config_.size);
    } else {
      pushed_ = std::make_unique<PushedSource>(post, config_.size, config_.range_size);
    }
    // Some of its threads begin here.
    const CpuAccount::Use counted(account_);
    work_ = make_work(config_, source(), post);
    thread_ = std::thread([this, post] { run(post); });
  }

  ~Job() override { stop(); }

 private:
  ChunkSource& source() {
    if (file_) return *file_;
    return *pushed_;
  }

  void run(const Post& post) {
    const CoreThread thread("dvcr-front", account_);
    post(last_event());
    // What follows touches nothing of the job any more, which may be gone once the channel is closed.
    const std::shared_ptr<Channel> channel = channel_;
    ended_ = true;
    channel->close();
  }

  Event last_event() {
    try {
      return work_->run();
    } catch (const SizeHintWrong& wrong) {
      return Failed{std::string(wrong.code()), wrong.what(), wrong.actual};
    } catch (const Error& error) {
      return Failed{std::string(error.code()), error.what(), std::nullopt};
    } catch (const std::exception& error) {
      return Failed{std::string(code::kInternal), error.what(), std::nullopt};
    }
  }

  void cancel() {
    if (file_) file_->cancel();
    if (pushed_) pushed_->cancel();
    if (work_) work_->cancel();
  }

  void stop() {
    cancel();
    if (!thread_.joinable()) return;
    // One that has ended needs a core only to go away.
    if (ended_) {
      thread_.detach();
    } else {
      thread_.join();
    }
  }

  // Event loop, after the last event or when the environment ends with the job still running.
  void finalize() {
    channel_->abandon();
    stop();
    options_.Reset();
    Unref();
  }

  void push(const Napi::CallbackInfo& info) {
    pushed_->push(info[0].As<Napi::Number>().Uint32Value(), to_chunks(info[1].As<Napi::Array>()));
  }
  void end(const Napi::CallbackInfo&) { pushed_->end(); }
  void release_output(const Napi::CallbackInfo& info) {
    work_->release_output(info[0].As<Napi::Number>().Uint32Value());
  }
  void begin(const Napi::CallbackInfo& info) { work_->begin({to_vector(info[0]), to_vector(info[1])}); }
  void range(const Napi::CallbackInfo& info) {
    if (info[0].IsUndefined()) return pushed_->range_answer(std::nullopt);
    const std::vector<uint8_t> bytes = to_vector(info[0]);
    pushed_->range_answer(Bytes(bytes));
  }
  void cancel_from_js(const Napi::CallbackInfo&) { cancel(); }
  Napi::Value source_bytes(const Napi::CallbackInfo& info) { return count(info, work_->progress().source_bytes); }
  Napi::Value disk_bytes(const Napi::CallbackInfo& info) { return count(info, work_->progress().disk_bytes); }
  Napi::Value scratch_bytes(const Napi::CallbackInfo& info) { return count(info, work_->progress().scratch_bytes); }
  static Napi::Value count(const Napi::CallbackInfo& info, uint64_t bytes) {
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  }

  Napi::Value cpu_seconds(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), account_->seconds()); }

  JobConfig config_;
  Napi::ObjectReference options_;
  std::shared_ptr<Channel> channel_;
  std::unique_ptr<FdSource> file_;
  std::unique_ptr<PushedSource> pushed_;
  std::unique_ptr<Work> work_;
  std::thread thread_;
  std::atomic<bool> ended_ = false;
  std::shared_ptr<CpuAccount> account_ = std::make_shared<CpuAccount>();
};

Napi::Value js_library_versions(const Napi::CallbackInfo& info) {
  Napi::Object out = Napi::Object::New(info.Env());
  for (const LibraryVersion& library : library_versions()) out.Set(library.name, library.version);
  return out;
}

Napi::Value js_encoder_id(const Napi::CallbackInfo& info) {
  std::string name = info[0].As<Napi::String>().Utf8Value();
  LayerCodec codec = name == "none" ? LayerCodec::kNone : name == "zstd" ? LayerCodec::kZstd : LayerCodec::kGzip;
  return Napi::String::New(info.Env(), encoder_id(codec));
}

Napi::Value js_self_signed(const Napi::CallbackInfo& info) {
  SelfSigned made;
  try {
    made = make_self_signed(info[0].As<Napi::String>().Utf8Value());
  } catch (const Error& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("cert", made.certificate);
  out.Set("key", made.key);
  return out;
}

void js_free_chunks(const Napi::CallbackInfo& info) {
  free_chunks(info[0].As<Napi::Array>());
}

void js_run_in_service(const Napi::CallbackInfo& info) {
  // Windows and buffers go back to the system when an import ends; glibc would keep them in an arena for each thread.
  constexpr int kLargestKept = 256 * 1024;
  mallopt(M_MMAP_THRESHOLD, kLargestKept);
  in_background = true;
  CpuTurn::limit(info[0].As<Napi::Number>().Uint32Value());
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("Job", Job::define(env));
  exports.Set("ImportMemory", SharedMemory::define(env));
  exports.Set("libraryVersions", Napi::Function::New(env, js_library_versions));
  exports.Set("encoderId", Napi::Function::New(env, js_encoder_id));
  exports.Set("freeChunks", Napi::Function::New(env, js_free_chunks));
  exports.Set("runInService", Napi::Function::New(env, js_run_in_service));
  exports.Set("selfSigned", Napi::Function::New(env, js_self_signed));
  return exports;
}

}  // namespace
}  // namespace dvcr::binding

// The macro wants a name at global scope.
static Napi::Object InitAll(Napi::Env env, Napi::Object exports) {
  return dvcr::binding::initialize(env, exports);
}
NODE_API_MODULE(dvcr, InitAll)
