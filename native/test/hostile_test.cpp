// Every way to attack or break an importer that we know of, by number, with the code it is answered with and the tests
// that show it. What belongs to no single format is tested here.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "block_check.h"
#include "block_images.h"
#include "hostile_rows.h"
#include "slots.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

Buffer small() {
  return patchy_disk(24 * 4096, 4096, 3);
}

Buffer of_qemu(const std::vector<std::string>& options) {
  TempDir directory;
  make_with_qemu(directory, directory.path("image"), small(), "qcow2", options);
  return read_file(directory.path("image"));
}

struct Sample {
  std::string_view format;
  Buffer image;
};

/// One honest image of each format, with tables small enough to try every entry.
const std::vector<Sample>& samples() {
  static const std::vector<Sample> all{
      {"qcow2", of_qemu({"-o", "cluster_size=4k"})},
      {"qcow2", of_qemu({"-c", "-o", "cluster_size=4k"})},
      {"vmdk", make_sparse_vmdk(small(), {.grain_sectors = 8}).bytes},
      {"vmdk", make_front_vmdk(small(), {.grain_sectors = 8}).bytes},
      {"vmdk", make_stream_vmdk(small(), {.grain_sectors = 8}).bytes},
      {"vdi", make_vdi(small())},
      {"vpc", make_dynamic_vhd(small())},
      {"vhdx", make_vhdx(Buffer(kMiB, 7))},
  };
  return all;
}

bool is_registered(std::string_view name) {
  const testing::UnitTest& unit = *testing::UnitTest::GetInstance();
  for (int s = 0; s < unit.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *unit.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      if (name == std::string(suite.name()) + "." + suite.GetTestInfo(t)->name()) return true;
    }
  }
  return false;
}

/// A test of the JavaScript side, written as FILE: TITLE.
bool is_written(std::string_view name) {
  const size_t colon = name.find(": ");
  const std::filesystem::path root = std::filesystem::path(__FILE__).parent_path() / "../..";
  const Buffer text = read_file((root / name.substr(0, colon)).string());
  return std::string_view(reinterpret_cast<const char*>(text.data()), text.size()).find(name.substr(colon + 2)) !=
         std::string_view::npos;
}

TEST(Hostile, EveryKnownAttackHasItsTest) {
  std::set<unsigned> numbers;
  for (const HostileRow& row : hostile_rows()) {
    EXPECT_TRUE(numbers.insert(row.number).second) << row.number << " stands twice";
    EXPECT_FALSE(row.tests.empty()) << row.number;
    for (std::string_view test : row.tests) {
      const bool found = test.find(".test.ts: ") == std::string_view::npos ? is_registered(test) : is_written(test);
      EXPECT_TRUE(found) << row.number << " names " << test;
    }
    std::printf("%2u  %-32s %s\n", row.number, std::string(row.outcome).c_str(), std::string(row.input).c_str());
  }
  EXPECT_EQ(numbers.size(), 65u);
  EXPECT_EQ(*numbers.rbegin(), 65u);
}

TEST(Hostile, AFileOfTwoFormatsIsAmbiguousDeclaredOrNot) {
  for (const Sample& sample : samples()) {
    Buffer both = sample.image;
    both.resize(std::max<size_t>(both.size(), 40 * kKiB));
    put_text(both, 32768, "\1CD001\1");
    EXPECT_EQ(convert(both).code, code::kAmbiguous) << sample.format;
    for (const char* declared : {"iso", "declared"}) {
      ConvertOptions options;
      options.open.declared_format = declared == std::string_view("iso") ? "iso" : std::string(sample.format);
      EXPECT_EQ(convert(both, options).code, code::kAmbiguous) << sample.format << " as " << declared;
    }
  }
  Buffer vdi_in_vmdk = make_sparse_vmdk(small(), {.grain_sectors = 8}).bytes;
  put_le(vdi_in_vmdk, 64, 4, 0xbeda107f);
  EXPECT_EQ(convert(vdi_in_vmdk).code, code::kAmbiguous);
}

TEST(Hostile, ADeclaredFormatMustBeTheFilesOwn) {
  for (const Sample& sample : samples()) {
    for (std::string_view declared : {"qcow2", "vmdk", "vdi", "vpc", "vhdx", "iso"}) {
      if (declared == sample.format) continue;
      ConvertOptions options;
      options.open.declared_format = declared;
      EXPECT_EQ(convert(sample.image, options).code, code::kFormatMismatch) << sample.format << " as " << declared;
    }
  }
}

TEST(Hostile, ADiskThatBeginsLikeAnImageIsSeenAsOne) {
  for (const Sample& sample : samples()) {
    ConvertOptions raw;
    raw.open.declared_format = "raw";
    const Converted stored = convert(sample.image, raw);
    EXPECT_EQ(stored.code, "");
    EXPECT_EQ(nested_format(Bytes(stored.disk).first(std::min<size_t>(stored.disk.size(), 64 * kKiB))), sample.format);
    Buffer inner = sample.image;
    inner.resize(div_ceil(inner.size(), 4096) * 4096);
    EXPECT_EQ(nested_format(convert(make_vdi(inner)).disk), sample.format);
  }
}

TEST(Hostile, EveryChunkingGivesTheSameDisk) {
  for (const Sample& sample : samples()) {
    const Converted whole = convert(sample.image);
    ASSERT_EQ(whole.message, "") << sample.format;
    for (size_t chunk : {1, 2, 511, 512, 513, 4095, 4096}) {
      if (chunk < 511 && sample.image.size() > kMiB) continue;
      const Converted parts = convert(sample.image, {.chunk = chunk, .known_size = false});
      EXPECT_EQ(parts.message, "") << sample.format << " in chunks of " << chunk;
      EXPECT_TRUE(parts.disk == whole.disk) << sample.format << " in chunks of " << chunk;
    }
  }
  EXPECT_EQ(convert({}).code, code::kEmpty);
  EXPECT_EQ(convert(Buffer(1)).size, 1u);
}

TEST(Hostile, AFileCutAnywhereIsRefused) {
  for (const Sample& sample : samples()) {
    const size_t size = sample.image.size();
    for (size_t share = 1; share < 20; ++share) {
      const Bytes cut = Bytes(sample.image).first(size * share / 20);
      if (sample.format == "vpc" && cut.size() < 512) continue;
      for (bool known : {true, false}) {
        const Converted result = convert(cut, {.known_size = known});
        EXPECT_NE(result.code, "") << sample.format << " cut to " << cut.size() << " of " << size;
      }
    }
  }
}

TEST(Hostile, WhatFollowsAnImageIsReadPastAndNeverStored) {
  for (const Sample& sample : samples()) {
    // A VHD's footer and a stream's end mark are the last sectors; anything behind them is an error of the format.
    const bool has_end = sample.format == "vpc" || be32(sample.image, 0) == 0x4b444d56;
    if (has_end) continue;
    const Buffer disk = convert(sample.image).disk;
    Buffer longer = sample.image;
    longer.insert(longer.end(), 100 * kKiB, 0x5a);
    const Converted result = convert(longer, {.known_size = false});
    EXPECT_EQ(result.message, "") << sample.format;
    EXPECT_TRUE(result.disk == disk) << sample.format;
  }
}

TEST(Hostile, ClustersInReverseOrderEndAtTheScratchLimit) {
  Buffer disk = noise(2 * kMiB, 1);
  const Buffer image = make_vdi(disk, {.order = Order::kReverse});
  ConvertOptions options;
  options.limits.hold_window = 64 * kKiB;
  options.limits.max_scratch = kMiB;
  const Converted refused = convert(image, options);
  EXPECT_EQ(refused.code, code::kScratchLimit);
  EXPECT_LE(refused.scratch_peak, kMiB);
  options.limits.max_scratch = 2 * kMiB;
  EXPECT_TRUE(convert(image, options).disk == disk);
}

TEST(Hostile, ThousandsOfTinyCompressedClustersAreReadInOnePass) {
  TempDir directory;
  Buffer text(4 * kMiB);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<uint8_t>('a' + i / 100 % 20);
  make_with_qemu(directory, directory.path("image"), text, "qcow2", {"-c", "-o", "cluster_size=512"});
  const Converted result = convert(read_file(directory.path("image")), {.limits = {.max_scratch = 0}});
  EXPECT_EQ(result.message, "");
  EXPECT_GT(result.units, 8000u);
  EXPECT_TRUE(result.disk == text);
}

/// Numbers at which sums, shifts and casts go wrong.
constexpr uint64_t kEdges[] = {0,
                               1,
                               0x7fffffff,
                               0xffffffff,
                               uint64_t{1} << 32,
                               (uint64_t{1} << 56) - 1,
                               (uint64_t{1} << 56) - 4096,
                               uint64_t{1} << 63,
                               UINT64_MAX - 511,
                               UINT64_MAX};

TEST(Hostile, NumbersAtTheirLimitsNeverGiveMoreThanTheDiskMayHold) {
  ConvertOptions options;
  options.limits.max_virtual_size = 8 * kMiB;
  options.limits.max_metadata = 4 * kMiB;
  options.limits.max_scratch = 16 * kMiB;
  for (const Sample& sample : samples()) {
    const Slots slots = slots_of(sample.format, sample.image);
    std::vector<Slot> all = slots.fields;
    all.insert(all.end(), slots.entries.begin(),
               slots.entries.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(slots.entries.size(), 12)));
    for (const Slot& slot : all) {
      for (uint64_t edge : kEdges) {
        Buffer image = sample.image;
        if (slot.big_endian) {
          put_be(image, slot.offset, slot.width, edge);
        } else {
          put_le(image, slot.offset, slot.width, edge);
        }
        const Converted result = convert(image, options);
        EXPECT_LE(result.size, options.limits.max_virtual_size + kMiB) << sample.format << " at " << slot.offset;
        EXPECT_NE(result.code, code::kInternal) << sample.format << " at " << slot.offset << " " << edge;
        EXPECT_TRUE(!result.code.empty() || result.info.virtual_size == result.size)
            << sample.format << " at " << slot.offset;
      }
    }
  }
}

}  // namespace
}  // namespace dvcr::test
