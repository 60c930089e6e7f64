// Disks made of steps, fed to a LayerBuilder in any split, and the layer that comes out, taken apart by zlib and
// libzstd instead of by the code under test.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "layer/layer_builder.h"

namespace dvcr::test {

using Data = std::vector<uint8_t>;

enum class Look { kRandom, kText };
/// The same bytes for the same seed on every machine.
Data make_data(size_t size, unsigned seed, Look look);
Data pack(UnitCodec codec, Bytes plain);

/// A disk as the formats hand it over.
class Disk {
 public:
  struct Step {
    enum class Kind { kData, kZeros, kUnit } kind;
    size_t at;    ///< in content()
    size_t size;  ///< bytes of the disk
    CompressedUnit unit;
    Data packed;
  };
  Disk& data(const Data& bytes);
  Disk& zeros(size_t size);
  /// `guest_size` 0: all of `plain`.
  Disk& unit(UnitCodec codec, const Data& plain, size_t guest_size = 0);
  /// Changes the unit that was added last.
  Step& last() { return steps_.back(); }

  [[nodiscard]] const Data& content() const { return content_; }
  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }

 private:
  Data content_;
  std::vector<Step> steps_;
};

/// Data, text, zeros of many lengths and units of every codec; not a multiple of 512 bytes long.
Disk mixed_disk();
/// The same without units, whose packed bytes depend on the libraries of the test.
Disk unpacked_mixed_disk();

/// split 0: each step in as few calls as possible. Else: a seed for random pieces, where zeros come as data and the
/// other way round.
void feed(LayerBuilder& builder, const Disk& disk, unsigned split);

class MemoryOutput : public LayerOutput {
 public:
  void write(Bytes bytes) override;
  std::function<void(size_t)> on_write;  ///< called with the bytes written so far
  Data bytes;
};

/// A tar of disk/disk.img that real tar accepts.
TarFrame tar_frame(uint64_t disk_size);
Data tar_of(const Data& content);

struct Built {
  Data layer;
  LayerResult result;
  std::vector<std::string> begins;  ///< "SIZE FROM ATTEMPT" of each begin
  uint64_t scratch_peak = 0;
};
Built build(const Disk& disk, const LayerOptions& options, const SizePlan& plan, unsigned split = 0,
            std::function<void(size_t)> on_write = {});
SizePlan exact(const Disk& disk);

/// Decompresses every member or frame; adds where each begins to `starts`.
Data unpack(LayerCodec codec, Bytes layer, std::vector<size_t>* starts = nullptr);
std::string sha256(Bytes bytes);
bool contains(Bytes haystack, Bytes needle);
/// Code of the Error that `body` throws; empty when it throws none.
std::string error_code(const std::function<void()>& body);

inline constexpr LayerCodec kCodecs[] = {LayerCodec::kGzip, LayerCodec::kZstd, LayerCodec::kNone};

}  // namespace dvcr::test
