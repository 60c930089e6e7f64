// Disk content in, a disk out: the sink of an export, next to the layer's.
//
//   front thread            workers                                  order thread
//   extents -> windows ---> inflate units, find zeros, pack, write -> digests, units observed, ordered outputs written
//
// A window is 1 MiB at a multiple of it (2 MiB where clusters are that large); outputs without an order take windows
// from all workers. A run of zeros is one item of any length and costs no memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../content_sink.h"
#include "../import_limits.h"
#include "../verify.h"
#include "disk_output.h"

namespace dvcr {

struct DiskOptions {
  unsigned threads = 1;             ///< that compute; never changes a byte of the disk
  bool allow_nested = true;         ///< accept content that begins with an image magic
  uint64_t size = 0;                ///< least bytes of the disk: more than the content has are zeros
  bool size_is_limit = false;       ///< content of more than `size` bytes is kDiskTooSmall instead
  bool verify = false;              ///< read the disk back at finish(), kDiskReadBack where it is not as written
  std::vector<Checksum> checksums;  ///< of the disk as the content has it; kChecksum at finish() when one differs
};

struct DiskResult {
  uint64_t content_size = 0;        ///< bytes of the disk's content
  std::vector<Checksum> checksums;  ///< with `expected` replaced by what was found
};

class DiskSink final : public ContentSink {
 public:
  /// `output` outlives this.
  DiskSink(DiskOptions options, const Limits& limits, DiskOutput& output);
  ~DiskSink() override;  ///< cancels and joins all threads

  [[nodiscard]] bool needs_size() const override { return false; }
  void start(const SizePlan& plan) override;
  MutableBytes reserve(size_t want) override;
  void commit(size_t count) override;
  void zero(uint64_t length) override;
  MutableBytes reserve_unit(size_t packed, size_t unit_size) override;
  void commit_unit(const CompressedUnit& unit) override;
  void finish() override;
  void cancel() override;
  void stop() override;
  [[nodiscard]] uint64_t disk_bytes() const override;
  /// After finish().
  [[nodiscard]] const DiskResult& result() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dvcr
