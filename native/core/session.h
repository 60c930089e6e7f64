// One import from the first source byte to the last layer byte: verify -> unpack -> disk image -> layer.
// Runs on threads of its own; knows nothing of N-API, sockets or paths.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "container_layer.h"
#include "disk_image.h"
#include "import_limits.h"
#include "layer/layer_builder.h"
#include "verify.h"

namespace dvcr {

struct SessionOptions {
  Limits limits;
  LayerOptions layer;
  OpenOptions open;
  std::vector<Checksum> checksums;
  bool keep_source_format = false;                ///< --format source: store the unpacked file as it is
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
  LayerResult layer;
  ImageReport image;
  std::string stored_format;        ///< format of disk/disk.img: raw, iso, or the source's with --format source
  uint64_t source_size = 0;         ///< bytes received
  uint64_t scratch_peak = 0;        ///< bytes
  std::vector<Checksum> checksums;  ///< with `expected` replaced by what was found
};

class Session {
 public:
  Session(SessionOptions options, ChunkSource& source, LayerOutput& output, BeginLayer begin,
          std::function<void(const ImageReport&)> on_image);
  ~Session();
  /// Runs the import on the calling thread; returns when everything was verified and written. Throws Error;
  /// SizeHintWrong where options.replayable.
  SessionResult run();
  /// Ends run() with kCancelled soon. Any thread. The source and the output must be woken by their owner.
  void cancel();
  /// After run() threw: waits until no thread of the session touches the output any more. The output must have been
  /// woken by its owner. Same thread as run().
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
