#include "work.h"

#include "disk/device_output.h"

namespace dvcr::binding {
namespace {

class ListWork final : public Work {
 public:
  ListWork(const SessionOptions& options, ChunkSource& source)
      : layer_(source, options.container_layer.value(), options.limits) {}
  Event run() override { return LayerListed{layer_.list()}; }

 private:
  ContainerLayerSource layer_;
};

class InspectWork final : public Work {
 public:
  InspectWork(SessionOptions options, ChunkSource& source) : options_(std::move(options)), source_(source) {}
  Event run() override { return Inspected{inspect(source_, options_)}; }

 private:
  SessionOptions options_;
  ChunkSource& source_;
};

/// A session with the sink that its mode asks for.
class SessionWork : public Work {
 public:
  explicit SessionWork(const SessionOptions& options) : budget_(options.limits.max_scratch) {}

  Event run() final {
    try {
      SessionResult result = session_->run();
      Event event = finished(std::move(result));
      end();
      return event;
    } catch (...) {
      wake();
      session_->stop();
      end();
      throw;
    }
  }

  void cancel() final {
    wake();
    const std::lock_guard lock(mutex_);
    if (session_) session_->cancel();
  }

  Progress progress() final {
    const std::lock_guard lock(mutex_);
    return current();
  }

 protected:
  void open(const SessionOptions& options, ChunkSource& source, std::unique_ptr<ContentSink> sink, const Post& post) {
    sink_ = std::move(sink);
    session_ = std::make_unique<Session>(options, source, *sink_, budget_,
                                         [post](const ImageReport& report) { post(ImageFound{report}); });
  }
  ScratchBudget& budget() { return budget_; }

  /// Ends the waits of what the sink writes to. Any thread.
  virtual void wake() {}
  virtual Event finished(SessionResult result) = 0;

 private:
  Progress current() {
    if (session_) last_ = {session_->source_bytes(), session_->disk_bytes(), session_->scratch_bytes()};
    return last_;
  }

  // Here and not on the event loop, where every request would wait with it until the threads get a core.
  void end() {
    std::unique_ptr<Session> ended;
    {
      const std::lock_guard lock(mutex_);
      last_ = current();
      last_.scratch_bytes = 0;
      ended = std::move(session_);
    }
    ended.reset();
    sink_.reset();
  }

  ScratchBudget budget_;
  std::unique_ptr<ContentSink> sink_;
  std::mutex mutex_;
  std::unique_ptr<Session> session_;  // until it has ended; only the job's thread lets go of it
  Progress last_;
};

class ImportWork final : public SessionWork {
 public:
  ImportWork(const SessionOptions& options, const ImportMode& mode, ChunkSource& source, const Post& post)
      : SessionWork(options), output_(post, mode.buffers), gate_(post) {
    auto layer = std::make_unique<LayerBuilder>(mode.layer, options.limits, budget(), output_,
                                                [this](uint64_t size, std::string_view from, unsigned attempt) {
                                                  // A further attempt voids what was written before, also the part
                                                  // that still waits in a buffer.
                                                  if (attempt > 1) output_.drop();
                                                  return gate_.ask(size, from, attempt);
                                                });
    layer_ = layer.get();
    open(options, source, std::move(layer), post);
  }

  void release_output(uint32_t index) override { output_.release(index); }
  void begin(TarFrame frame) override { gate_.answer(std::move(frame)); }

 private:
  void wake() override {
    output_.cancel();
    gate_.cancel();
  }

  Event finished(SessionResult result) override {
    output_.flush();
    return Imported{std::move(result), layer_->result()};
  }

  PooledOutput output_;
  BeginGate gate_;
  LayerBuilder* layer_ = nullptr;
};

std::unique_ptr<DiskOutput> make_output(const ExportMode& mode) {
  switch (mode.kind) {
    case ExportMode::Kind::kDevice:
      return make_device_output(mode.fd);
    case ExportMode::Kind::kPipe:
      return make_pipe_output(mode.fd, mode.disk.size);
    case ExportMode::Kind::kQcow2:
      return make_qcow2_output(mode.fd, mode.disk.size, mode.compression, mode.disk.verify);
    case ExportMode::Kind::kFile:
      break;
  }
  return make_file_output(mode.fd, mode.disk.size);
}

class ExportWork final : public SessionWork {
 public:
  ExportWork(const SessionOptions& options, const ExportMode& mode, ChunkSource& source, const Post& post)
      : SessionWork(options), output_(make_output(mode)) {
    auto disk = std::make_unique<DiskSink>(mode.disk, options.limits, *output_);
    disk_ = disk.get();
    open(options, source, std::move(disk), post);
  }

 private:
  void wake() override { output_->cancel(); }
  Event finished(SessionResult result) override {
    return Exported{std::move(result), disk_->result(), output_->written(), output_->warnings()};
  }

  std::unique_ptr<DiskOutput> output_;
  DiskSink* disk_ = nullptr;
};

struct MakeWork {
  const JobConfig& config;
  ChunkSource& source;
  const Post& post;

  std::unique_ptr<Work> operator()(const ListMode&) const { return std::make_unique<ListWork>(config.session, source); }
  std::unique_ptr<Work> operator()(const InspectMode&) const {
    return std::make_unique<InspectWork>(config.session, source);
  }
  std::unique_ptr<Work> operator()(const ImportMode& mode) const {
    return std::make_unique<ImportWork>(config.session, mode, source, post);
  }
  std::unique_ptr<Work> operator()(const ExportMode& mode) const {
    return std::make_unique<ExportWork>(config.session, mode, source, post);
  }
};

}  // namespace

std::unique_ptr<Work> make_work(const JobConfig& config, ChunkSource& source, const Post& post) {
  return std::visit(MakeWork{config, source, post}, config.mode);
}

}  // namespace dvcr::binding
