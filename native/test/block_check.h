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

/// Damages: a field overwritten, big-endian or little-endian.
inline auto be(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) { put_be(image, at, width, value); };
}
inline auto le(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) { put_le(image, at, width, value); };
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

/// What the tests of one format share: a directory, and comparisons of images of that format with qemu-img.
class BlockFormat : public testing::Test {
 protected:
  explicit BlockFormat(std::string format, OpenOptions open = {})
      : format_(std::move(format)), open_(std::move(open)) {}

  [[nodiscard]] std::string path(std::string_view name) const { return directory_.path(name); }

  /// Converts the image file at `image` and compares with what qemu-img makes of it, for two chunkings.
  void expect_as_qemu(const std::string& image) const {
    const Buffer bytes = read_file(image);
    const Buffer expected = qemu_raw(image, format_);
    for (size_t chunk : {size_t{4095}, size_t{1} << 20}) {
      ConvertOptions options;
      options.chunk = chunk;
      options.open = open_;
      const Converted result = convert(bytes, options);
      ASSERT_EQ(result.message, "");
      EXPECT_EQ(result.info.format, format_);
      EXPECT_EQ(result.info.virtual_size, expected.size());
      ASSERT_TRUE(result.disk == expected);
    }
  }

  /// The number that `qemu-img info` names `field` for the file at `image`, 0 when it has none.
  [[nodiscard]] uint64_t qemu_number(const std::string& image, const std::string& field) const {
    const std::string json = run({"qemu-img", "info", "--output=json", "-f", format_, image});
    const std::string key = "\"" + field + "\": ";
    const size_t at = json.find(key);
    return at == std::string::npos ? 0 : std::stoull(json.substr(at + key.size()));
  }

  /// Disks of each of `sizes` that qemu-img wrote with each of `variants` of options.
  void expect_what_qemu_wrote(const std::vector<size_t>& sizes, const std::vector<std::vector<std::string>>& variants) {
    for (size_t size : sizes) {
      const Buffer disk = make_disk(size, size);
      for (const auto& options : variants) {
        SCOPED_TRACE(std::to_string(size) + (options.empty() ? "" : options.back()));
        const std::string image = path("disk");
        make_with_qemu(directory_, image, disk, format_, options);
        expect_as_qemu(image);
        ConvertOptions declared;
        declared.open = open_;
        EXPECT_EQ(convert(read_file(image), declared).info.cluster_size, qemu_number(image, "cluster-size"));
      }
    }
  }

  /// A disk of `size` bytes that qemu-img makes with `options`, empty and then written to in several orders, as a
  /// guest does.
  void expect_what_a_guest_wrote(uint64_t size, const std::vector<std::string>& options) {
    for (uint64_t seed : {1, 2, 3}) {
      const std::string image = path("guest");
      std::vector<std::string> command{"qemu-img", "create", "-q", "-f", format_};
      command.insert(command.end(), options.begin(), options.end());
      command.insert(command.end(), {image, std::to_string(size)});
      run(command);
      expect_as_qemu(image);
      write_like_a_guest(image, size, 30, seed);
      expect_as_qemu(image);
    }
  }

 private:
  /// Writes `count` pieces at places and of lengths that `seed` gives into the image.
  void write_like_a_guest(const std::string& image, uint64_t size, unsigned count, uint64_t seed) const {
    const Buffer random = noise(count * 8, seed);
    std::vector<std::string> command{"qemu-io", "-t", "unsafe", "-f", format_, image};
    for (unsigned i = 0; i < count; ++i) {
      const uint64_t value = le64(random, i * 8);
      const uint64_t offset = value % (size / 512) * 512;
      const uint64_t length = std::min((value >> 40) % 300 + 1, (size - offset) / 512) * 512;
      command.insert(command.end(), {"-c", "write -P " + std::to_string(i % 255 + 1) + " " + std::to_string(offset) +
                                               " " + std::to_string(length)});
    }
    run(command);
  }

  TempDir directory_;
  std::string format_;
  OpenOptions open_;
};

}  // namespace dvcr::test
