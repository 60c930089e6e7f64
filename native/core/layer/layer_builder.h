// Disk content in, one container layer out: a tar of disk/ and disk/disk.img, compressed in frames that depend on the
// content alone, with the digests of both forms taken in the same pass.
//
//   front thread            worker pool                     digest thread          output thread
//   extents -> windows ---> inflate units ----------------> SHA-256 of the tar
//                           zero blocks, deflate frames -----------------------> SHA-256 of the layer -> LayerOutput
//
// Windows keep their order; a run of zeros is one symbolic window of any length and costs no memory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../content_sink.h"
#include "../import_limits.h"
#include "../import_memory.h"
#include "../scratch.h"

namespace dvcr {

enum class LayerCodec : uint8_t { kNone, kGzip, kZstd };

/// Takes the finished layer bytes. Called from the output thread only; write() may block until there is room.
class LayerOutput {
 public:
  virtual ~LayerOutput() = default;
  /// Layer bytes in order. Throws Error to end the import (cancelled).
  virtual void write(Bytes bytes) = 0;
};

/// The tar bytes before and after the disk's content, for a disk of the size asked for.
struct TarFrame {
  std::vector<uint8_t> head;  ///< headers of disk/ and disk/disk.img
  std::vector<uint8_t> tail;  ///< padding to 512 and two zero blocks
};

/// Asked once per push attempt, before its first byte, from the front thread; may block. `attempt` counts from 1; a
/// second attempt means that the hint was wrong and what was written before is void.
using BeginLayer = std::function<TarFrame(uint64_t disk_size, std::string_view size_from, unsigned attempt)>;

struct LayerOptions {
  LayerCodec codec = LayerCodec::kGzip;
  unsigned threads = 1;       ///< worker threads; never changes a byte of the layer
  bool allow_nested = false;  ///< accept a disk whose content begins with an image magic
  std::string scratch_directory;
  /// Shared with the other imports of the process; an import alone has one of its own.
  std::shared_ptr<ImportMemory> memory = std::make_shared<ImportMemory>(1);
};

struct LayerResult {
  std::string diff_id;      ///< sha256 hex of the tar
  std::string digest;       ///< sha256 hex of the layer
  uint64_t layer_size = 0;  ///< bytes of the layer
  uint64_t disk_size = 0;   ///< bytes of disk/disk.img
  std::string size_from;
};

/// "gzip:isal-2.30.0:1:1MiB" and the like: what, beside the content, decides the layer's bytes.
std::string encoder_id(LayerCodec codec);

class LayerBuilder final : public ContentSink {
 public:
  LayerBuilder(LayerOptions options, const Limits& limits, ScratchBudget& budget, LayerOutput& output,
               BeginLayer begin);
  ~LayerBuilder() override;  ///< cancels and joins all threads

  [[nodiscard]] bool needs_size() const override { return true; }
  void start(const SizePlan& plan) override;
  MutableBytes reserve(size_t want) override;
  void commit(size_t count) override;
  void zero(uint64_t length) override;
  MutableBytes reserve_unit(size_t packed, size_t unit_size) override;
  void commit_unit(const CompressedUnit& unit) override;
  /// Pushes a kept layer too, where one was kept.
  void finish() override;
  void cancel() override;
  /// Only once a waiting LayerOutput::write() was woken by its owner.
  void stop() override;
  [[nodiscard]] uint64_t disk_bytes() const override;
  /// After finish().
  [[nodiscard]] const LayerResult& result() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dvcr
