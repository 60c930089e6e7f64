// One pass from the first source byte to the last byte of the result: verify -> unpack -> disk image -> layer or disk.
// Runs on threads of its own; knows nothing of N-API, sockets or paths.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "container_layer.h"
#include "content_sink.h"
#include "disk_image.h"
#include "import_limits.h"
#include "scratch.h"
#include "unpack/unpack.h"
#include "verify.h"

namespace dvcr {

struct SessionOptions {
  Limits limits;
  OpenOptions open;
  unsigned threads = 1;  ///< for what is unpacked in parallel
  std::string scratch_directory;
  std::vector<Checksum> checksums;
  Compression declared_compression = Compression::kNone;  ///< the source is packed so, whatever its content looks like
  bool keep_source_format = false;                        ///< --format source: take the unpacked file as it is
  std::optional<uint64_t> declared_size;          ///< exact size of a raw disk, from a first pass over the same source
  std::optional<ContainerLayer> container_layer;  ///< the source is a blob that holds the disk file
  bool replayable = false;                        ///< the source can be read again: nothing is kept for a wrong hint
};

/// What is known once the headers were read.
struct ImageReport {
  DiskInfo info;
  std::vector<std::string> compressions;  ///< outermost first
};

struct SessionResult {
  ImageReport image;
  std::string stored_format;        ///< what the sink was given: raw, iso, or the source's with --format source
  uint64_t source_size = 0;         ///< bytes received
  uint64_t scratch_peak = 0;        ///< bytes
  std::vector<Checksum> checksums;  ///< with `expected` replaced by what was found
};

class Session {
 public:
  /// `source`, `sink` and `budget` outlive the session; so must the session every thread of the sink (see stop()).
  Session(SessionOptions options, ChunkSource& source, ContentSink& sink, ScratchBudget& budget,
          std::function<void(const ImageReport&)> on_image);
  ~Session();
  /// Runs on the calling thread; returns when everything was verified and the sink is finished. Throws Error;
  /// SizeHintWrong where options.replayable.
  SessionResult run();
  /// Ends run() with kCancelled soon. Any thread. The source and what the sink writes to must be woken by their owner.
  void cancel();
  /// After run() threw: waits until no thread of the sink runs any more. What the sink writes to must have been woken
  /// by its owner. Same thread as run().
  void stop();
  [[nodiscard]] uint64_t disk_bytes() const;
  /// Source bytes taken in so far, of the blob where the source is a container layer. Any thread.
  [[nodiscard]] uint64_t source_bytes() const;
  /// Bytes in scratch now. Any thread.
  [[nodiscard]] uint64_t scratch_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What `source` is, reading only what its headers need; of `options` only what the source is and its limits count.
/// Throws like Session::run.
ImageReport inspect(ChunkSource& source, const SessionOptions& options);

}  // namespace dvcr
