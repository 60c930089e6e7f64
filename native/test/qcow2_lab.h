// qcow2 images by qemu-img and qemu-io, and the ways in which tests convert them.
#pragma once

#include <gtest/gtest.h>

#include "support.h"

namespace dvcr::test {

inline constexpr size_t kDiskSize = (6u << 20) + 3 * 512;

/// A raw disk in a directory of its own, and images made of it.
class Lab {
 public:
  explicit Lab(size_t size = kDiskSize, uint64_t seed = 1) : disk_(make_disk(size, seed)) { write_file(raw(), disk_); }
  [[nodiscard]] std::string raw() const { return directory_.path("disk.raw"); }
  [[nodiscard]] std::string image() const { return directory_.path("disk.qcow2"); }
  /// `qemu-img convert` with these arguments.
  void convert(std::vector<std::string> arguments) const {
    std::vector<std::string> command{"qemu-img", "convert", "-f", "raw", "-O", "qcow2"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    command.insert(command.end(), {raw(), image()});
    run(command);
  }
  void create(const std::string& options, const std::string& size) const {
    run({"qemu-img", "create", "-f", "qcow2", "-o", options, image(), size});
  }
  void io(const std::vector<std::string>& commands) const {
    std::vector<std::string> command{"qemu-io", "-f", "qcow2"};
    for (const std::string& text : commands) command.insert(command.end(), {"-c", text});
    command.push_back(image());
    run(command);
  }
  [[nodiscard]] std::vector<uint8_t> bytes() const { return read_file(image()); }
  [[nodiscard]] std::vector<uint8_t> expected() const { return qemu_raw(image(), "qcow2"); }
  [[nodiscard]] const std::vector<uint8_t>& disk() const { return disk_; }

 private:
  TempDir directory_;
  std::vector<uint8_t> disk_;
};

/// Options under which nothing but the stream is there: no scratch at all.
inline ConvertOptions streaming(size_t chunk) {
  ConvertOptions options;
  options.chunk = chunk;
  options.limits.max_scratch = 0;
  options.known_size = false;
  options.lag = 64;
  return options;
}

/// Options that force what is held into scratch.
inline ConvertOptions spilling(size_t chunk) {
  ConvertOptions options;
  options.chunk = chunk;
  options.limits.hold_window = 8 * kKiB;
  options.lag = 5;
  return options;
}

inline void expect_equal(const Converted& result, const std::vector<uint8_t>& expected) {
  EXPECT_EQ(result.code, "") << result.message;
  EXPECT_EQ(result.size, expected.size());
  EXPECT_TRUE(result.disk == expected);
}

}  // namespace dvcr::test
