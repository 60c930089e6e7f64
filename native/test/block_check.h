// Checks that the tests of VDI, VHD and VHDX share.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "block_images.h"
#include "support.h"

namespace dvcr::test {

/// The same disk for every chunking of the stream, with and without a known length.
inline void expect_disk_for_every_chunking(const Buffer& image, const Buffer& disk, const OpenOptions& open = {}) {
  for (size_t chunk : {size_t{1}, size_t{511}, size_t{4096}, size_t{65537}, size_t{1} << 20, size_t{0}}) {
    for (bool known_size : {true, false}) {
      ConvertOptions options;
      options.chunk = chunk;
      options.known_size = known_size;
      options.open = open;
      const Converted result = convert(image, options);
      ASSERT_EQ(result.message, "") << "chunks of " << chunk;
      ASSERT_TRUE(result.disk == disk) << "chunks of " << chunk;
      ASSERT_EQ(result.scratch_left, 0u) << "all that was held must have been used";
    }
  }
}

/// A way to damage an image, and the code that must come of it.
struct Damage {
  const char* name;
  std::function<void(Buffer&)> apply;
  std::string_view code;
};

inline void expect_refused(const Buffer& image, const std::vector<Damage>& damages, const OpenOptions& open = {}) {
  for (const Damage& damage : damages) {
    Buffer damaged = image;
    damage.apply(damaged);
    for (size_t chunk : {size_t{0}, size_t{1000}}) {
      ConvertOptions options;
      options.chunk = chunk;
      options.open = open;
      options.known_size = chunk == 0;
      const Converted result = convert(damaged, options);
      EXPECT_EQ(result.code, damage.code) << damage.name << ": " << result.message;
    }
  }
}

/// Converts the image file at `path` and compares with what qemu-img makes of it, for two chunkings.
inline void expect_as_qemu(const std::string& path, std::string_view format, const OpenOptions& open = {}) {
  const Buffer image = read_file(path);
  const Buffer expected = qemu_raw(path, format);
  for (size_t chunk : {size_t{4095}, size_t{1} << 20}) {
    ConvertOptions options;
    options.chunk = chunk;
    options.open = open;
    const Converted result = convert(image, options);
    ASSERT_EQ(result.message, "");
    EXPECT_EQ(result.info.format, format);
    EXPECT_EQ(result.info.virtual_size, expected.size());
    ASSERT_TRUE(result.disk == expected);
  }
}

/// The number that `qemu-img info` names `field` for the file at `path`, 0 when it has none.
inline uint64_t qemu_number(const std::string& path, std::string_view format, const std::string& field) {
  const std::string json = run({"qemu-img", "info", "--output=json", "-f", std::string(format), path});
  const std::string key = "\"" + field + "\": ";
  const size_t at = json.find(key);
  return at == std::string::npos ? 0 : std::stoull(json.substr(at + key.size()));
}

/// Writes `count` pieces at places and of lengths that `seed` gives into the image at `path`, as a guest does.
inline void write_like_a_guest(const std::string& path, const std::string& format, uint64_t size, unsigned count,
                               uint64_t seed) {
  const Buffer random = noise(count * 8, seed);
  std::vector<std::string> command{"qemu-io", "-t", "unsafe", "-f", format, path};
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t value = le64(random, i * 8);
    const uint64_t offset = value % (size / 512) * 512;
    const uint64_t length = std::min((value >> 40) % 300 + 1, (size - offset) / 512) * 512;
    command.insert(command.end(), {"-c", "write -P " + std::to_string(i % 255 + 1) + " " + std::to_string(offset) +
                                             " " + std::to_string(length)});
  }
  run(command);
}

/// Makes an image of `disk` with qemu-img at `path`; `options` go before the file names.
inline void make_with_qemu(const TempDir& directory, const std::string& path, const Buffer& disk,
                           const std::string& format, const std::vector<std::string>& options) {
  const std::string raw = directory.path("source.raw");
  write_file(raw, disk);
  std::vector<std::string> command{"qemu-img", "convert", "-t", "unsafe", "-f", "raw", "-O", format};
  command.insert(command.end(), options.begin(), options.end());
  command.insert(command.end(), {raw, path});
  run(command);
}

}  // namespace dvcr::test
