// VMDK images that convert: qemu's and VMware's, all kinds, orders, sizes and chunkings.
#include "formats/vmdk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "support.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

constexpr size_t kGrain = 64 * kKiB;

// Small enough for one byte at a time, odd in its last grain.
std::vector<uint8_t> small_disk() {
  return make_disk(5 * kGrain + 11 * 512, 7);
}

void expect_disk(const VmdkFile& file, const std::vector<uint8_t>& disk, ConvertOptions options = {}) {
  Converted result = convert(file.bytes, options);
  ASSERT_EQ(result.code, "") << result.message;
  EXPECT_EQ(result.info.format, "vmdk");
  EXPECT_EQ(result.info.virtual_size, disk.size());
  EXPECT_TRUE(result.disk == disk);
}

std::vector<uint64_t> shuffled_grains(size_t disk_size) {
  std::vector<uint64_t> order(div_ceil(disk_size, kGrain));
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(3));
  return order;
}

TEST(VmdkOfXenOrchestra, IsReadWithItsPaddingAndUnmeasuredTables) {
  TempDir dir;
  for (size_t size : {size_t{3 * kMiB}, size_t{40 * kMiB}}) {
    const std::vector<uint8_t> disk = make_disk(size, 9);
    for (bool twice : {false, true}) {
      const VmdkFile file = make_orchestra_vmdk(disk, twice ? 5000 : 0, twice);
      write_file(dir.path("disk.vmdk"), file.bytes);
      ASSERT_TRUE(qemu_raw(dir.path("disk.vmdk"), "vmdk") == disk);
      for (bool with_ranges : {false, true}) {
        expect_disk(file, disk, {.chunk = 100'000, .known_size = with_ranges, .with_ranges = with_ranges});
      }
    }
  }
}

struct QemuCase {
  const char* name;
  std::vector<std::string> options;
};

class VmdkOfQemu : public testing::TestWithParam<QemuCase> {};

TEST_P(VmdkOfQemu, ConvertsLikeQemuImg) {
  TempDir dir;
  for (size_t size : {size_t{512}, kGrain - 512, kGrain, size_t{3 * kMiB + 512}, size_t{33 * kMiB + 5 * 512}}) {
    write_file(dir.path("disk.raw"), make_disk(size, size));
    std::vector<std::string> command{"qemu-img", "convert", "-f", "raw", "-O", "vmdk"};
    command.insert(command.end(), GetParam().options.begin(), GetParam().options.end());
    command.insert(command.end(), {dir.path("disk.raw"), dir.path("disk.vmdk")});
    run(command);
    std::vector<uint8_t> image = read_file(dir.path("disk.vmdk"));
    std::vector<uint8_t> expected = qemu_raw(dir.path("disk.vmdk"), "vmdk");
    for (size_t chunk : {size_t{4097}, size_t{1} << 20}) {
      Converted result = convert(image, {.chunk = chunk});
      ASSERT_EQ(result.code, "") << size << " " << result.message;
      EXPECT_TRUE(result.disk == expected) << size << " in chunks of " << chunk;
      EXPECT_EQ(result.scratch_left, 0u);
    }
    EXPECT_TRUE(convert(image, {.known_size = false, .with_ranges = true, .lag = 9}).disk == expected) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, VmdkOfQemu,
    testing::Values(QemuCase{"sparse", {}}, QemuCase{"sparse_unordered", {"-W", "-m", "8"}},
                    QemuCase{"sparse_zeroed_grains", {"-o", "zeroed_grain=on"}}, QemuCase{"sparse_full", {"-S", "0"}},
                    QemuCase{"compat6", {"-o", "compat6=on"}}, QemuCase{"stream", {"-o", "subformat=streamOptimized"}},
                    QemuCase{"stream_unordered", {"-W", "-m", "8", "-o", "subformat=streamOptimized"}}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Vmdk, ConvertsWhatAGuestWroteInAnyOrder) {
  TempDir dir;
  std::string path = dir.path("guest.vmdk");
  run({"qemu-img", "create", "-f", "vmdk", "-o", "zeroed_grain=on", path, "60M"});
  std::mt19937 random(11);
  std::vector<std::string> command{"qemu-io", "-f", "vmdk"};
  for (int i = 1; i <= 120; ++i) {
    std::string place = std::to_string(random() % 15000 * 4) + "k " + std::to_string(random() % 40 * 512 + 512);
    command.insert(command.end(),
                   {"-c", i % 9 == 0 ? "write -z " + place : "write -P " + std::to_string(i) + " " + place});
  }
  command.push_back(path);
  run(command);
  std::vector<uint8_t> image = read_file(path);
  std::vector<uint8_t> expected = qemu_raw(path, "vmdk");
  for (uint64_t window : {uint64_t{0}, 16 * kMiB}) {
    Limits limits;
    limits.hold_window = window;
    Converted result = convert(image, {.chunk = 100'000, .limits = limits});
    ASSERT_EQ(result.code, "") << result.message;
    EXPECT_TRUE(result.disk == expected);
    EXPECT_EQ(result.scratch_left, 0u);
  }
}

TEST(Vmdk, ConvertsAnEmptyDiskOfManyTables) {
  TempDir dir;
  std::string path = dir.path("large.vmdk");
  run({"qemu-img", "create", "-f", "vmdk", path, "64G"});
  run({"qemu-io", "-f", "vmdk", "-c", "write -P 7 50G 64k", path});
  Converted result = convert(read_file(path), {.limits = {.max_metadata = kMiB}});
  ASSERT_EQ(result.code, "") << result.message;
  EXPECT_EQ(result.size, 64 * kGiB);
  EXPECT_EQ(result.scratch_peak, 0u);
}

TEST(Vmdk, ConvertsTheSameInChunksOfOneByte) {
  std::vector<uint8_t> disk = small_disk();
  for (const VmdkFile& file : {make_sparse_vmdk(disk), make_front_vmdk(disk), make_stream_vmdk(disk)}) {
    for (size_t chunk : {size_t{1}, size_t{3}, size_t{511}, size_t{512}, size_t{513}, size_t{65536}}) {
      expect_disk(file, disk, {.chunk = chunk});
    }
  }
}

TEST(Vmdk, ConvertsAllVersionsGrainSizesAndTableKinds) {
  std::vector<uint8_t> disk = make_disk(3 * kMiB + 5 * 512, 21);
  for (uint32_t version : {1u, 2u, 3u}) {
    for (uint64_t grain : {8u, 16u, 128u, 4096u}) {
      for (bool flag : {false, true}) {
        VmdkSpec spec{.version = version,
                      .grain_sectors = grain,
                      .redundant = flag,
                      .zero_grains = flag,
                      .short_last = flag,
                      .late_tables = flag};
        expect_disk(make_sparse_vmdk(disk, spec), disk);
        expect_disk(make_front_vmdk(disk, spec), disk);
        expect_disk(make_stream_vmdk(disk, spec), disk, {.with_ranges = flag});
      }
    }
  }
}

TEST(Vmdk, ConvertsASparseStreamOfSeveralTables) {
  std::vector<uint8_t> disk(12 * kMiB + 512);
  // With grains of 8 KiB a table maps 4 MiB: data in the first, across to the second, and in the last table.
  for (size_t at : {size_t{1} * kMiB, size_t{4} * kMiB - kGrain, disk.size() - 512}) {
    std::vector<uint8_t> data = noise(std::min(3 * kGrain, disk.size() - at), at);
    std::copy(data.begin(), data.end(), disk.begin() + static_cast<std::ptrdiff_t>(at));
  }
  VmdkFile file = make_stream_vmdk(disk, {.grain_sectors = 16});
  ASSERT_EQ(file.tables.size(), 3u);
  Converted result = convert(file.bytes, {.chunk = 10'000, .known_size = false});
  ASSERT_EQ(result.code, "") << result.message;
  EXPECT_TRUE(result.disk == disk);
  EXPECT_EQ(result.units, file.grains.size());
  expect_disk(make_stream_vmdk(disk, {.grain_sectors = 16, .late_tables = true}), disk);
}

TEST(Vmdk, StreamWithoutAnyDataIsADiskOfZeros) {
  std::vector<uint8_t> disk(40 * kMiB);
  expect_disk(make_stream_vmdk(disk), disk);
  expect_disk(make_sparse_vmdk(disk), disk);
}

TEST(Vmdk, HoldsGrainsThatStandOutOfOrderBehindFrontTables) {
  std::vector<uint8_t> disk = make_disk(4 * kMiB, 5);
  VmdkSpec spec{.order = shuffled_grains(disk.size())};
  for (const VmdkFile& file : {make_sparse_vmdk(disk, spec), make_front_vmdk(disk, spec)}) {
    expect_disk(file, disk);
    expect_disk(file, disk, {.chunk = 777, .limits = {.hold_window = 0}});
  }
}

TEST(Vmdk, StreamWhoseGrainsStartBehindItsEndIsCutInWhateverOrderItIsRead) {
  std::vector<uint8_t> disk = make_disk(4 * kMiB, 5);
  VmdkFile file = make_stream_vmdk(disk, {.order = shuffled_grains(disk.size())});
  put_le(file.bytes, 64, 8, file.bytes.size() / 512 + 1);
  EXPECT_EQ(convert(file.bytes).code, code::kTruncated);
  EXPECT_EQ(convert(file.bytes, {.with_ranges = true}).code, code::kTruncated);
}

TEST(Vmdk, StreamOutOfOrderIsReadByItsTablesWhereTheOriginHasRanges) {
  std::vector<uint8_t> disk = make_disk(4 * kMiB, 5);
  VmdkFile within = make_stream_vmdk(disk, {.order = shuffled_grains(disk.size())});
  EXPECT_EQ(convert(within.bytes).code, code::kOutOfOrder);
  expect_disk(within, disk, {.with_ranges = true});

  std::vector<uint8_t> larger = make_disk(5 * kMiB, 6);
  std::vector<uint64_t> order(larger.size() / 4096);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::rotate(order.begin(), order.begin() + 512, order.end());
  VmdkFile across = make_stream_vmdk(larger, {.grain_sectors = 8, .order = order});
  EXPECT_EQ(convert(across.bytes).code, code::kOutOfOrder);
  expect_disk(across, larger, {.with_ranges = true});
}

TEST(Vmdk, ReportsWhatQemuImgReports) {
  std::vector<uint8_t> disk = small_disk();
  Converted result = convert(make_stream_vmdk(disk, {.version = 3, .grain_sectors = 16}).bytes);
  ASSERT_EQ(result.code, "") << result.message;
  EXPECT_EQ(result.info.cluster_size, 8192u);
  ASSERT_EQ(result.info.specific.size(), 4u);
  EXPECT_EQ(result.info.specific[0].name, "cid");
  EXPECT_EQ(std::get<uint64_t>(result.info.specific[0].value), 0x1a2b3c4du);
  EXPECT_EQ(result.info.specific[1].name, "parent-cid");
  EXPECT_EQ(std::get<uint64_t>(result.info.specific[1].value), 0xffffffffu);
  EXPECT_EQ(result.info.specific[2].name, "create-type");
  EXPECT_EQ(std::get<std::string>(result.info.specific[2].value), "streamOptimized");
  EXPECT_EQ(result.info.specific[3].name, "extents");
  const FieldRows extents{{{"compressed", true},
                           {"virtual-size", uint64_t{disk.size()}},
                           {"cluster-size", uint64_t{8192}},
                           {"format", std::string()}}};
  EXPECT_TRUE(std::get<FieldRows>(result.info.specific[3].value) == extents);
  EXPECT_TRUE(result.info.warnings.empty());
}

TEST(Vmdk, MayBeNamedInAnyLanguage) {
  const std::vector<uint8_t> disk = make_disk(3 << 20, 12);
  const std::string sectors = std::to_string(disk.size() / 512);
  const std::vector<std::pair<std::string, std::string>> names{
      {"UTF-8", "B\xc3\xbcro \xe7\xa3\x81\xe7\x9b\x98"},
      {"windows-1252", "B\xfcro"},
      {"GBK", "\xb4\xc5\xc5\xcc"},
      {"Shift_JIS", "\x83\\\x83t\x83g"},  // the first letter ends with the byte of a backslash
  };
  const TempDir directory;
  for (const auto& [encoding, name] : names) {
    std::string text = vmdk_descriptor("monolithicSparse", {"RW " + sectors + " SPARSE \"" + name + ".vmdk\""});
    text += "encoding=\"" + encoding + "\"\n";
    const std::vector<uint8_t> image = make_sparse_vmdk(disk, {.descriptor = text}).bytes;
    const Converted result = convert(image);
    EXPECT_EQ(result.message, "") << encoding;
    EXPECT_TRUE(result.disk == disk) << encoding;
    write_file(directory.path("disk.vmdk"), image);
    EXPECT_TRUE(qemu_raw(directory.path("disk.vmdk"), "vmdk") == disk) << encoding;
  }
}

TEST(Vmdk, WarnsOfAnUncleanShutdownAndOfASizeThatDiffers) {
  std::vector<uint8_t> disk = small_disk();
  VmdkFile file = make_sparse_vmdk(disk, {.descriptor = vmdk_descriptor("monolithicSparse", {sparse_extent(5)})});
  file.bytes[72] = 1;
  Converted result = convert(file.bytes);
  ASSERT_EQ(result.code, "") << result.message;
  EXPECT_TRUE(result.disk == disk);
  EXPECT_EQ(result.info.warnings.size(), 2u);
}

TEST(Vmdk, DeclaredFormatMustFit) {
  std::vector<uint8_t> disk = small_disk();
  EXPECT_EQ(convert(make_sparse_vmdk(disk).bytes, {.open = {.declared_format = "vmdk"}}).code, "");
  EXPECT_EQ(convert(disk, {.open = {.declared_format = "vmdk"}}).code, code::kFormatMismatch);
  EXPECT_EQ(convert(make_sparse_vmdk(disk).bytes, {.open = {.declared_format = "iso"}}).code, code::kFormatMismatch);
}

TEST(Vmdk, IsSeenWithinADisk) {
  EXPECT_EQ(nested_format(make_stream_vmdk(small_disk()).bytes), "vmdk");
}

}  // namespace
}  // namespace dvcr::test
