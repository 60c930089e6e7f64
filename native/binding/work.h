// What a job does on its thread: one class for each mode.
#pragma once

#include "convert.h"

namespace dvcr::binding {

struct Progress {
  uint64_t source_bytes = 0;   ///< taken in from the source
  uint64_t disk_bytes = 0;     ///< of the disk's content
  uint64_t scratch_bytes = 0;  ///< held in scratch now
};

class Work {
 public:
  virtual ~Work() = default;
  /// On the job's own thread, once. Returns the job's last event; throws Error. After either no thread of the work
  /// runs any more, and it touches neither the source nor a buffer of JavaScript's.
  virtual Event run() = 0;
  /// Ends run() soon; the source has been woken by its owner. Any thread.
  virtual void cancel() {}
  /// Any thread.
  virtual Progress progress() { return {}; }
  /// Event loop: buffer `index` may be filled again.
  virtual void release_output(uint32_t) {}
  /// Event loop: the answer to BeginAsked.
  virtual void begin(TarFrame) {}
};

/// The work that `config` asks for. `source` outlives it.
std::unique_ptr<Work> make_work(const JobConfig& config, ChunkSource& source, const Post& post);

}  // namespace dvcr::binding
