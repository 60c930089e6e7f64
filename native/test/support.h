// What the tests of all disk formats share: a sink that decodes inline, conversion from memory with any chunking,
// test disks made from a seed, and the tools that images are made and compared with.
#pragma once

#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "disk_image.h"

namespace dvcr::test {

/// An empty buffer, with the room of one that was kept where there is one. Each page of a new one is a page fault,
/// which would be most of the time of a small conversion.
std::vector<uint8_t> spare_buffer();
/// Keeps a buffer that is no longer needed for spare_buffer(), on this thread.
void keep_buffer(std::vector<uint8_t> buffer);

/// Collects a disk's content; decodes units where they stand and tells their observers. After an error of its own it
/// takes nothing more: a caller that goes on is a std::logic_error.
class CollectSink final : public ExtentSink {
 public:
  /// `lag`: how many units are decoded only later, as in the real pipeline, where workers run behind the parser.
  /// Content behind `cap` bytes is counted but not kept, so that huge disks of zeros can be tested.
  explicit CollectSink(size_t lag = 0, uint64_t cap = 64 * kMiB);
  ~CollectSink() override;
  CollectSink(const CollectSink&) = delete;
  CollectSink& operator=(const CollectSink&) = delete;
  MutableBytes reserve(size_t want) override;
  void commit(size_t count) override;
  void zero(uint64_t length) override;
  MutableBytes reserve_unit(size_t packed, size_t unit_size) override;
  void commit_unit(const CompressedUnit& unit) override;
  /// Decodes what lags behind; throws what that throws.
  void finish();

  std::vector<uint8_t> disk;  ///< the content, up to the cap
  uint64_t size = 0;          ///< all bytes
  uint64_t units = 0;         ///< compressed ones
  uint64_t unit_bytes = 0;    ///< disk bytes that came compressed
  uint64_t zeros = 0;         ///< bytes that came by zero()

 private:
  struct Pending {
    CompressedUnit unit;
    std::vector<uint8_t> packed;
    uint64_t at;
  };
  void decode(const Pending& pending);
  void expect_no_failure() const;
  MutableBytes room_of(size_t want);
  void keep(uint64_t at, Bytes bytes);

  size_t lag_;
  uint64_t cap_;
  bool failed_ = false;
  std::vector<uint8_t> room_;
  MutableBytes reserved_;
  std::deque<Pending> pending_;
};

/// The bytes of an image by offset, as a file or a server with Range gives them.
class MemoryRanges final : public RangeReader {
 public:
  explicit MemoryRanges(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    const Bytes from = slice(bytes_, offset, out.size());
    std::copy(from.begin(), from.end(), out.begin());
    return true;
  }

  Bytes bytes_;
};

struct ConvertOptions {
  size_t chunk = 0;          ///< most bytes that the source gives at a time; 0: all
  Limits limits = {};        ///< as in the product
  OpenOptions open = {};     ///< declared format
  bool known_size = true;    ///< the source says its length beforehand
  bool with_ranges = false;  ///< the source also has random access
  size_t lag = 0;            ///< see CollectSink
};

struct Converted {
  std::vector<uint8_t> disk;
  DiskInfo info;
  uint64_t size = 0;          ///< bytes of the disk
  uint64_t scratch_peak = 0;  ///< bytes
  uint64_t scratch_left = 0;  ///< bytes held at the end
  uint64_t units = 0;
  uint64_t unit_bytes = 0;  ///< disk bytes that came compressed
  uint64_t zeros = 0;       ///< bytes that came as zeros, without data
  std::string code;         ///< of the Error, empty when all went well
  std::string message;      ///< of the Error
};

/// Opens and converts `image`, then drains it; an Error ends up in the result.
Converted convert(Bytes image, const ConvertOptions& options = {});
/// The code and the message of the Error that `action` throws, both empty when it throws none.
Converted caught(const std::function<void()>& action);

/// A directory of its own under the system's temporary one, removed with all it holds.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] std::string path(std::string_view name) const { return (directory_ / name).string(); }

 private:
  std::filesystem::path directory_;
};

/// Runs a program found on PATH and returns what it prints; a failure is an exception with its output.
std::string run(const std::vector<std::string>& command);
/// What `qemu-img convert -O raw` makes of the image at `path`.
std::vector<uint8_t> qemu_raw(const std::string& path, std::string_view format);

std::vector<uint8_t> read_file(const std::string& path);
void write_file(const std::string& path, Bytes bytes);

/// A disk with text, noise, runs of zeros and holes of all lengths from 512 bytes up; the same for the same seed.
std::vector<uint8_t> make_disk(size_t size, uint64_t seed);
std::vector<uint8_t> noise(size_t size, uint64_t seed);

/// Overwrites an integer field of an image.
void put_be(std::vector<uint8_t>& bytes, size_t offset, unsigned width, uint64_t value);
void put_le(std::vector<uint8_t>& bytes, size_t offset, unsigned width, uint64_t value);

}  // namespace dvcr::test
