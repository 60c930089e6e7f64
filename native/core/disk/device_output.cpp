// A block device that ends with exactly the disk and zeros to its end, whatever was on it, and stays thin where it can.
// What the kernel guarantees about zeros (block/fops.c): PUNCH_HOLE that succeeds reads as zeros and is deallocated
// where the device can; BLKDISCARD promises nothing. So a device without the former is discarded and then read back
// wherever it should be zeros.
#include "device_output.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "../import_limits.h"
#include "read_back.h"

namespace dvcr {
namespace {

/// A run of zeros is worth a command of its own from this length on (bytes).
constexpr uint64_t kLeastPunch = 64 * kKiB;
/// So much is punched or discarded by one call, so that the end of an export is not waited for (bytes).
constexpr uint64_t kSlice = 4 * kGiB;

uint64_t queue_limit(int fd, const char* name) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISBLK(status.st_mode)) return 0;
  const std::string device =
      "/sys/dev/block/" + std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
  for (const char* queue : {"/queue/", "/../queue/"}) {
    std::ifstream file(device + queue + name);
    uint64_t value = 0;
    if (file >> value) return value;
  }
  return 0;
}

class DeviceOutput final : public DiskOutput {
 public:
  DeviceOutput(int fd, DeviceAbilities abilities)
      : file_(fd), size_(file_.length()), abilities_(abilities), granularity_(queue_limit(fd, "discard_granularity")) {}

  [[nodiscard]] bool in_order() const override { return false; }

  [[nodiscard]] uint64_t hole() const override {
    if (method_ == Method::kPunched) return kDiskHole;
    // Once a chunk of a thin device holds data, its other bytes may be another volume's old ones: it is written whole.
    const bool power = granularity_ != 0 && (granularity_ & (granularity_ - 1)) == 0;
    return power ? std::clamp(granularity_, kLeastPunch, kMiB) : kLeastPunch;
  }

  void begin(std::optional<uint64_t> size) override {
    // Whoever is root opens it for writing all the same.
    int read_only = 0;
    if (::ioctl(file_.fd(), BLKROGET, &read_only) == 0 && read_only != 0) {
      throw Error(code::kDiskDenied, "the device is read-only");
    }
    if (size) check_fits(*size);
    const bool punches = abilities_.punch && size_ > 0 && file_.punch(0, std::min(size_, kLeastPunch));
    if (!punches) {
      method_ = Method::kReadBack;
      if (abilities_.discard) in_slices([this](uint64_t at, uint64_t length) { discard(at, length); });
    } else if (queue_limit(file_.fd(), "discard_max_bytes") > 0) {
      method_ = Method::kPunched;
      in_slices([this](uint64_t at, uint64_t length) {
        if (!file_.punch(at, length)) file_.write_zeros(at, length);
      });
    } else {
      // Zeros cost this device as much as data: only where the disk has some.
      method_ = Method::kPunchEach;
    }
  }

  void write(uint64_t offset, Bytes bytes, const std::vector<PackedCluster>&) override {
    check_fits(offset + bytes.size());
    const uint64_t padded = div_ceil(bytes.size(), kDiskAlign) * kDiskAlign;
    file_.write(offset, {bytes.data(), static_cast<size_t>(std::min(padded, size_ - offset))});
  }

  void zeros(uint64_t offset, uint64_t length) override {
    check_fits(offset + length);
    if (method_ == Method::kPunched) return;
    // The disk's last bytes share a sector with what follows.
    length = std::min(div_ceil(length, kDiskAlign) * kDiskAlign, size_ - offset);
    if (method_ == Method::kPunchEach) {
      if (!file_.punch(offset, length)) file_.write_zeros(offset, length);
      return;
    }
    const std::lock_guard lock(mutex_);
    if (!holes_.empty() && holes_.back().offset + holes_.back().length == offset) {
      holes_.back().length += length;
    } else {
      holes_.push_back({offset, length});
    }
  }

  void finish(uint64_t size) override {
    check_fits(size);
    const uint64_t end = std::min(div_ceil(size, kDiskAlign) * kDiskAlign, size_);
    if (end < size_) zeros(end, size_ - end);
    for (const Hole& hole : holes_) check_hole(hole);
    file_.sync();
  }

  [[nodiscard]] uint64_t stored_size(uint64_t) const override { return size_; }
  void verify(uint64_t size, const std::string& sha256) override { check_back(file_, 0, size, sha256, cancelled_); }

  void cancel() override { cancelled_ = true; }
  [[nodiscard]] uint64_t written() const override { return file_.written(); }

  [[nodiscard]] std::vector<std::string> warnings() const override {
    if (filled_ == 0) return {};
    return {"the device cannot make zeros without writing them: " + std::to_string(filled_) +
            " bytes of zeros were written where it held other data"};
  }

 private:
  enum class Method : uint8_t { kPunched, kPunchEach, kReadBack };
  struct Hole {
    uint64_t offset;
    uint64_t length;
  };

  void check_fits(uint64_t size) const {
    if (size <= size_) return;
    throw Error(code::kDiskTooSmall,
                "the device has " + std::to_string(size_) + " bytes and the disk needs " + std::to_string(size));
  }

  template <typename Body>
  void in_slices(Body&& body) {
    for (uint64_t at = 0; at < size_; at += kSlice) {
      if (cancelled_) throw Error(code::kCancelled, "the export was cancelled");
      body(at, std::min(kSlice, size_ - at));
    }
  }

  void discard(uint64_t at, uint64_t length) {
    std::array<uint64_t, 2> range{at, length};
    // Only a favour: what it left is seen when the holes are read.
    if (::ioctl(file_.fd(), BLKDISCARD, range.data()) != 0) return;
  }

  void check_hole(const Hole& hole) {
    const AlignedBuffer buffer = make_aligned(kMiB);
    for (uint64_t at = hole.offset; at < hole.offset + hole.length;) {
      if (cancelled_) throw Error(code::kCancelled, "the export was cancelled");
      const auto want = static_cast<size_t>(std::min(kMiB, hole.offset + hole.length - at));
      const size_t got = file_.read(at, {buffer.get(), want});
      if (got < want) throw_disk_error("reading the device back", EIO);
      if (!is_zero({buffer.get(), want})) {
        file_.write_zeros(at, want);
        filled_ += want;
      }
      at += want;
    }
  }

  DiskFile file_;
  uint64_t size_;  // of the device
  DeviceAbilities abilities_;
  uint64_t granularity_;
  Method method_ = Method::kReadBack;
  std::mutex mutex_;
  std::vector<Hole> holes_;  // that the device has to be read for
  uint64_t filled_ = 0;      // bytes of holes that were not zeros
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

std::unique_ptr<DiskOutput> make_device_output(int fd, DeviceAbilities abilities) {
  return std::make_unique<DeviceOutput>(fd, abilities);
}

}  // namespace dvcr
