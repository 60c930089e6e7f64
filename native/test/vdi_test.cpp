#include "block_check.h"

namespace dvcr::test {
namespace {

constexpr size_t kVdiBlocks = 9;

Buffer small_disk() {
  return patchy_disk(kVdiBlocks * 4096 - 1536, 4096, 1);
}

class Vdi : public BlockFormat {
 protected:
  Vdi() : BlockFormat("vdi") {}
};

TEST_F(Vdi, GivesWhatQemuImgGives) {
  expect_what_qemu_wrote({512, 1 << 20, (3 << 20) + 512, (9 << 20) - 1024},
                         {{}, {"-W", "-m", "8"}, {"-o", "static=on"}, {"-S", "0"}, {"-o", "static=on", "-W"}});
}

TEST_F(Vdi, GivesTheDiskOfAVirtualMachineThatWroteInAnyOrder) {
  expect_what_a_guest_wrote(20000256, {});
}

TEST_F(Vdi, ReadsVirtualBoxFilesWhateverTheirBlockOrderAndExtraSpace) {
  const Buffer disk = small_disk();
  for (Order order : {Order::kGuest, Order::kReverse, Order::kShuffled, Order::kLastFirst}) {
    for (bool fixed : {false, true}) {
      expect_disk_for_every_chunking(make_vdi(disk, {.fixed = fixed, .order = order}), disk);
    }
  }
  for (uint32_t block_size : {8192u, 65536u, 1u << 20}) {
    expect_disk_for_every_chunking(make_vdi(disk, {.block_size = block_size, .order = Order::kReverse}), disk);
  }
  expect_disk_for_every_chunking(make_vdi(disk, {.block_extra = 512}), disk);
  EXPECT_TRUE(convert(make_vdi(disk, {.block_extra = 512, .order = Order::kShuffled})).disk == disk);
}

TEST_F(Vdi, HoldsAtMostWhatStandsOutOfOrder) {
  ConvertOptions options;
  options.limits.hold_window = 0;
  options.limits.max_scratch = 0;
  const Buffer disk = small_disk();
  EXPECT_EQ(convert(make_vdi(disk), options).message, "");
  EXPECT_EQ(convert(make_vdi(disk, {.block_extra = 512}), options).message, "");
  EXPECT_EQ(convert(make_vdi(disk, {.order = Order::kReverse}), options).code, code::kScratchLimit);
}

TEST_F(Vdi, ReadsDiscardedBlocksAsZeros) {
  Buffer disk(3 * 4096, 0x5a);
  Buffer image = make_vdi(disk);
  put_le(image, kVdiMap + 4, 4, 0xfffffffe);
  std::fill(disk.begin() + 4096, disk.begin() + 8192, uint8_t{0});
  EXPECT_TRUE(convert(image).disk == disk);
}

TEST_F(Vdi, SaysWhereATruncatedFileEnds) {
  const Buffer disk(3 * 4096, 0x5a);
  Buffer image = make_vdi(disk);
  image.resize(image.size() - 4096 - 1000);
  for (bool known_size : {true, false}) {
    ConvertOptions options;
    options.known_size = known_size;
    const Converted result = convert(image, options);
    EXPECT_EQ(result.code, code::kTruncated);
    EXPECT_NE(result.message.find("guest offset 7192"), std::string::npos) << result.message;
  }
}

TEST_F(Vdi, RefusesWhatNoHonestToolWrites) {
  auto le = [](size_t at, unsigned width, uint64_t value) {
    return [=](Buffer& image) { put_le(image, at, width, value); };
  };
  expect_refused(make_vdi(Buffer(kVdiBlocks * 4096, 0x5a)),
                 {
                     {"version 1.2", le(0x44, 4, 0x00010002), code::kUnsupportedFeature},
                     {"undo image", le(0x4c, 4, 3), code::kBackingFile},
                     {"differencing image", le(0x4c, 4, 4), code::kBackingFile},
                     {"unknown type", le(0x4c, 4, 5), code::kCorruptImage},
                     {"link to another image", le(0x1a8, 4, 1), code::kBackingFile},
                     {"parent image", le(0x1b8, 4, 1), code::kBackingFile},
                     {"sectors of 4096", le(0x168, 4, 4096), code::kCorruptImage},
                     {"block size 0", le(0x178, 4, 0), code::kCorruptImage},
                     {"block size not a power of two", le(0x178, 4, 4097), code::kCorruptImage},
                     {"block size of 2 GiB", le(0x178, 4, 1u << 31), code::kCorruptImage},
                     {"extra space larger than a block", le(0x17c, 4, 8192), code::kCorruptImage},
                     {"disk larger than its blocks", le(0x170, 8, kVdiBlocks * 4096 + 1), code::kCorruptImage},
                     {"disk of 2^63 bytes", le(0x170, 8, uint64_t{1} << 63), code::kTooLarge},
                     {"disk of 2^64-1 bytes", le(0x170, 8, UINT64_MAX), code::kTooLarge},
                     {"disk of no bytes", le(0x170, 8, 0), code::kEmpty},
                     {"too many blocks", le(0x180, 4, 0x1fffff81), code::kCorruptImage},
                     {"more allocated than there are", le(0x184, 4, kVdiBlocks + 1), code::kCorruptImage},
                     {"map in the header", le(0x154, 4, 0), code::kCorruptImage},
                     {"map not aligned", le(0x154, 4, 513), code::kCorruptImage},
                     {"map beyond the end", le(0x154, 4, 0x7ffffe00), code::kTruncated},
                     {"data in the header", le(0x158, 4, 0), code::kOverlap},
                     {"data in the map", le(0x158, 4, 512), code::kOverlap},
                     {"data not aligned", le(0x158, 4, 1025), code::kCorruptImage},
                     {"data beyond the end", le(0x158, 4, 0x7ffffe00), code::kTruncated},
                     {"entry beyond the allocated", le(kVdiMap, 4, kVdiBlocks), code::kCorruptImage},
                     {"entry far away", le(kVdiMap, 4, 0xfffffffd), code::kCorruptImage},
                     {"the same block twice", le(kVdiMap + 32, 4, 0), code::kAlias},
                     {"cut in the header", [](Buffer& image) { image.resize(100); }, code::kTruncated},
                     {"cut in the map", [](Buffer& image) { image.resize(520); }, code::kTruncated},
                     {"cut in the last block", [](Buffer& image) { image.pop_back(); }, code::kTruncated},
                 });
}

TEST_F(Vdi, RefusesTablesAndDisksOverTheLimitsBeforeReadingThem) {
  const Buffer image = make_vdi(Buffer(kVdiBlocks * 4096, 0x5a));
  ConvertOptions options;
  options.limits.max_virtual_size = kVdiBlocks * 4096 - 1;
  EXPECT_EQ(convert(image, options).code, code::kTooLarge);
  options.limits = {};
  options.limits.max_metadata = 64;
  EXPECT_EQ(convert(image, options).code, code::kMetadataLimit);
  Buffer huge = image;
  put_le(huge, 0x180, 4, 0x1fffff80);
  put_le(huge, 0x170, 8, uint64_t{0x1fffff80} * 4096);
  EXPECT_EQ(convert(huge).code, code::kMetadataLimit);
}

TEST_F(Vdi, IsRefusedUnderAnotherFormatsName) {
  ConvertOptions options;
  for (const char* declared : {"vhdx", "vpc", "iso"}) {
    options.open.declared_format = declared;
    EXPECT_EQ(convert(make_vdi(small_disk()), options).code, code::kFormatMismatch) << declared;
  }
  EXPECT_EQ(nested_format(make_vdi(small_disk())), "vdi");
}

}  // namespace
}  // namespace dvcr::test
