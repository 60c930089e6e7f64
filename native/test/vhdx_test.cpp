#include "block_check.h"

namespace dvcr::test {
namespace {

constexpr size_t kBlocks = 5;
constexpr size_t kDiskSize = kBlocks * kMiB - 4096;

Buffer small_disk() {
  return patchy_disk(kDiskSize, 65536, 3);
}

auto in_headers(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) { set_vhdx_headers(image, at, width, value); };
}
auto in_regions(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) { set_vhdx_regions(image, at, width, value); };
}

/// Where the data of one 1 MiB block is, so that disks of terabytes can be checked.
class ExtentsSink final : public ExtentSink {
 public:
  MutableBytes reserve(size_t want) override {
    room_.resize(want);
    return room_;
  }
  void commit(size_t count) override {
    for (size_t i = 0; i < count; ++i) {
      if (room_[i] != 0) last_nonzero = size + i;
      if (room_[i] != 0 && first_nonzero == UINT64_MAX) first_nonzero = size + i;
    }
    size += count;
  }
  void zero(uint64_t length) override { size += length; }
  MutableBytes reserve_unit(size_t, size_t) override { throw std::logic_error("there are no units in a VHDX"); }
  void commit_unit(const CompressedUnit&) override { throw std::logic_error("there are no units in a VHDX"); }

  uint64_t size = 0;
  uint64_t first_nonzero = UINT64_MAX;
  uint64_t last_nonzero = 0;

 private:
  Buffer room_;
};

class Vhdx : public BlockFormat {
 protected:
  Vhdx() : BlockFormat("vhdx") {}
};

TEST_F(Vhdx, GivesWhatQemuImgGives) {
  expect_what_qemu_wrote({512, 1 << 20, (9 << 20) - 1024}, {{},
                                                            {"-o", "block_size=1M"},
                                                            {"-W", "-m", "8", "-o", "block_size=1M"},
                                                            {"-o", "block_size=2M,subformat=fixed"},
                                                            {"-o", "block_size=16M,log_size=2M"}});
}

TEST_F(Vhdx, GivesTheDiskOfAVirtualMachineThatWroteInAnyOrder) {
  expect_what_a_guest_wrote(30000128, {"-o", "block_size=1M"});
}

TEST_F(Vhdx, ReadsHyperVAndDisk2vhdFilesOfAnyBlockOrder) {
  const Buffer disk = small_disk();
  for (Order order : {Order::kGuest, Order::kReverse, Order::kShuffled, Order::kLastFirst}) {
    for (bool twin_headers : {true, false}) {
      const Buffer image = make_vhdx(disk, {.sector_size = 4096, .order = order, .twin_headers = twin_headers});
      EXPECT_TRUE(convert(image).disk == disk);
    }
  }
  expect_disk_for_every_chunking(make_vhdx(disk, {.order = Order::kReverse}), disk);
  expect_disk_for_every_chunking(make_vhdx(disk, {.block_size = 4 << 20}), disk);
}

TEST_F(Vhdx, SkipsTheEntriesOfSectorBitmapsInALargeDisk) {
  const std::string file = path("large.vhdx");
  run({"qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", file, "9T"});
  run({"qemu-io", "-f", "vhdx", file, "-c", "write -P 7 8800000000000 4096"});
  const Buffer image = read_file(file);
  MemorySource memory(image, 65536);
  PrefixSource source(memory);
  ScratchBudget budget(kGiB);  // qemu puts the metadata behind the table, which is read after it
  ImageReader reader(source, Limits{}, budget, std::filesystem::temp_directory_path().string());
  ExtentsSink sink;
  open_image(source, reader, {})->convert(sink);
  EXPECT_EQ(sink.size, 9 * kTiB);
  EXPECT_EQ(sink.first_nonzero, 8800000000000u);
  EXPECT_EQ(sink.last_nonzero, 8800000000000u + 4095);
}

TEST_F(Vhdx, UsesTheOtherCopyOfADamagedHeaderOrRegionTable) {
  const Buffer disk = small_disk();
  for (size_t at : {kVhdxHeaders[0], kVhdxHeaders[1], kVhdxRegions[0], kVhdxRegions[1]}) {
    Buffer image = make_vhdx(disk);
    image[at + 100] ^= 1;
    EXPECT_TRUE(convert(image).disk == disk) << at;
  }
}

TEST_F(Vhdx, FindsItsMetadataAnywhereInTheRegion) {
  const Buffer disk = small_disk();
  Buffer image = make_vhdx(disk);
  // The file parameters, the disk size and the sector size, in reverse at the end of the region.
  const size_t entries = kVhdxMetadata + 32;
  for (auto [index, from, length, to] :
       {std::array<size_t, 4>{0, 0, 8, kMiB - 8}, {1, 8, 8, kMiB - 16}, {2, 16, 4, kMiB - 20}}) {
    std::copy_n(&image[kVhdxItems + from], length, &image[kVhdxMetadata + to]);
    put_le(image, entries + index * 32 + 16, 4, to);
  }
  std::fill_n(&image[kVhdxItems], 20, uint8_t{0xff});
  expect_disk_for_every_chunking(image, disk);
  // A region that says it is 256 MiB long, and an item at its end that never comes.
  set_vhdx_regions(image, 40, 4, kMiB);
  set_vhdx_regions(image, 64, 8, 16 * kMiB);
  set_vhdx_regions(image, 72, 4, 256 * kMiB);
  image.resize(16 * kMiB);
  image.insert(image.end(), image.begin() + kVhdxMetadata, image.begin() + kVhdxTable);
  put_le(image, 16 * kMiB + 32 + 16, 4, 255 * kMiB);
  EXPECT_EQ(convert(image).code, code::kTruncated);
}

TEST_F(Vhdx, ReadsBlocksThatAreNotPresentAsZeros) {
  const Buffer disk(2 * kMiB, 0x5a);
  for (uint64_t state : {0, 1, 2, 3, 5}) {
    Buffer image = make_vhdx(disk);
    image[kVhdxTable] = static_cast<uint8_t>(state);
    const Converted result = convert(image);
    EXPECT_EQ(result.message, "");
    EXPECT_TRUE(is_zero(Bytes(result.disk).first(kMiB))) << state;
    EXPECT_EQ(result.size, disk.size());
  }
}

TEST_F(Vhdx, SaysWhereATruncatedFileEnds) {
  Buffer image = make_vhdx(Buffer(2 * kMiB, 0x5a));
  image.resize(image.size() - 1000);
  const Converted result = convert(image);
  EXPECT_EQ(result.code, code::kTruncated);
  EXPECT_NE(result.message.find("guest offset 2096152"), std::string::npos) << result.message;
}

TEST_F(Vhdx, RefusesWhatNoHonestToolWrites) {
  const size_t items = kVhdxMetadata + 32;  // the first entry of the metadata table
  const std::vector<Damage> damages{
      {"both headers damaged",
       [](Buffer& i) {
         i[kVhdxHeaders[0] + 5] ^= 1;
         i[kVhdxHeaders[1] + 5] ^= 1;
       },
       code::kCorruptImage},
      {"two headers of one number",
       [](Buffer& i) {
         for (size_t header : kVhdxHeaders) put_le(i, header + 8, 8, 7);
         put_le(i, kVhdxHeaders[1] + 16, 8, 1);
         seal_vhdx_headers(i);
       },
       code::kCorruptImage},
      {"version 2", in_headers(66, 2, 2), code::kUnsupportedFeature},
      {"log version 1", in_headers(64, 2, 1), code::kUnsupportedFeature},
      {"log not aligned", in_headers(72, 8, kVhdxLog + 4096), code::kCorruptImage},
      {"log length not aligned", in_headers(68, 4, 4096), code::kCorruptImage},
      {"log in the header", in_headers(72, 8, 0), code::kOverlap},
      {"log in the metadata", in_headers(72, 8, kVhdxMetadata), code::kOverlap},
      {"log that ends after 2^64", in_headers(72, 8, UINT64_MAX - kMiB + 1), code::kCorruptImage},
      {"log in use but empty", in_headers(48, 8, 1), code::kDirty},
      {"log in use of no bytes",
       [](Buffer& i) {
         in_headers(48, 8, 1)(i);
         in_headers(68, 4, 0)(i);
       },
       code::kDirty},
      {"both region tables damaged",
       [](Buffer& i) {
         i[kVhdxRegions[0] + 100] ^= 1;
         i[kVhdxRegions[1] + 100] ^= 1;
       },
       code::kCorruptImage},
      {"too many regions", in_regions(8, 4, 2048), code::kCorruptImage},
      {"unknown region that is required", in_regions(16, 1, 0), code::kUnsupportedFeature},
      {"unknown region that is not, in the place of the block table",
       [](Buffer& i) {
         in_regions(16, 1, 0)(i);
         in_regions(44, 4, 0)(i);
       },
       code::kCorruptImage},
      {"two block tables",
       [](Buffer& i) {
         for (size_t table : kVhdxRegions) std::copy_n(&i[table + 16], 16, &i[table + 48]);
         seal_vhdx_regions(i);
       },
       code::kCorruptImage},
      {"block table in the header", in_regions(32, 8, 0), code::kOverlap},
      {"block table in the metadata", in_regions(32, 8, kVhdxMetadata), code::kOverlap},
      {"block table in the log", in_regions(32, 8, kVhdxLog), code::kOverlap},
      {"block table not aligned", in_regions(32, 8, kVhdxTable + 512), code::kCorruptImage},
      {"block table beyond the end", in_regions(32, 8, uint64_t{1} << 60), code::kTruncated},
      {"block table that ends after 2^64", in_regions(32, 8, UINT64_MAX - kMiB + 1), code::kCorruptImage},
      {"block table of no bytes", in_regions(40, 4, 0), code::kCorruptImage},
      {"no metadata signature", le(kVhdxMetadata, 1, 0), code::kCorruptImage},
      {"too many metadata items", le(kVhdxMetadata + 10, 2, 2048), code::kCorruptImage},
      {"unknown item that is required", le(items + 4 * 32, 1, 0), code::kUnsupportedFeature},
      {"no file parameters", le(kVhdxMetadata + 10, 2, 0), code::kCorruptImage},
      {"two sizes", [=](Buffer& i) { std::copy_n(&i[items + 32], 32, &i[items]); }, code::kCorruptImage},
      {"item in the table", le(items + 16, 4, 0), code::kCorruptImage},
      {"item beyond its region", le(items + 16, 4, kMiB - 4), code::kCorruptImage},
      {"item of 2 bytes", le(items + 20, 4, 2), code::kCorruptImage},
      {"block size below 1 MiB", le(kVhdxItems, 4, 512 << 10), code::kCorruptImage},
      {"block size over 256 MiB", le(kVhdxItems, 4, 512 << 20), code::kCorruptImage},
      {"block size not a power of two", le(kVhdxItems, 4, 3 << 20), code::kCorruptImage},
      {"differencing disk", le(kVhdxItems + 4, 4, 2), code::kBackingFile},
      {"disk of no bytes", le(kVhdxItems + 8, 8, 0), code::kEmpty},
      {"disk over 64 TiB", le(kVhdxItems + 8, 8, 64 * kTiB + 512), code::kTooLarge},
      {"disk of half a sector", le(kVhdxItems + 8, 8, kDiskSize + 256), code::kCorruptImage},
      {"disk larger than its table", le(kVhdxItems + 8, 8, kTiB), code::kCorruptImage},
      {"sectors of 1024", le(kVhdxItems + 16, 4, 1024), code::kCorruptImage},
      {"partially present block", le(kVhdxTable, 8, kVhdxFirstBlock | 7), code::kCorruptImage},
      {"block in an unknown state", le(kVhdxTable, 8, kVhdxFirstBlock | 4), code::kCorruptImage},
      {"block with reserved bits", le(kVhdxTable, 8, kVhdxFirstBlock | 0x806), code::kCorruptImage},
      {"block at 0", le(kVhdxTable, 8, 6), code::kCorruptImage},
      {"block in the log", le(kVhdxTable, 8, kVhdxLog | 6), code::kOverlap},
      {"block in the metadata", le(kVhdxTable, 8, kVhdxMetadata | 6), code::kOverlap},
      {"block in the block table", le(kVhdxTable, 8, kVhdxTable | 6), code::kOverlap},
      {"the same block twice", le(kVhdxTable, 8, (kVhdxFirstBlock + kMiB) | 6), code::kAlias},
      {"block beyond the end", le(kVhdxTable, 8, uint64_t{1} << 40 | 6), code::kTruncated},
      {"block beyond any file", le(kVhdxTable, 8, (UINT64_MAX << 20) | 6), code::kCorruptImage},
      {"cut in the headers", [](Buffer& i) { i.resize(100 << 10); }, code::kTruncated},
      {"cut in the metadata", [](Buffer& i) { i.resize(kVhdxMetadata + 100); }, code::kTruncated},
      {"cut in the block table", [](Buffer& i) { i.resize(kVhdxTable + 10); }, code::kTruncated},
  };
  expect_refused(make_vhdx(Buffer(kDiskSize, 0x5a)), damages);
}

TEST_F(Vhdx, RefusesOverlappingBlocks) {
  Buffer image = make_vhdx(Buffer(8 * kMiB, 0x5a), {.block_size = 4 << 20});
  put_le(image, kVhdxTable, 8, (kVhdxFirstBlock + 3 * kMiB) | 6);
  EXPECT_EQ(convert(image).code, code::kOverlap);
}

TEST_F(Vhdx, RefusesTablesAndDisksOverTheLimitsBeforeReadingThem) {
  const Buffer image = make_vhdx(Buffer(kDiskSize, 0x5a));
  ConvertOptions options;
  options.limits.max_virtual_size = kDiskSize - 1;
  EXPECT_EQ(convert(image, options).code, code::kTooLarge);
  options.limits = {};
  options.limits.max_metadata = kBlocks * 8;
  EXPECT_EQ(convert(image, options).code, "");
  options.limits.max_metadata = kBlocks * 8 - 1;
  EXPECT_EQ(convert(image, options).code, code::kMetadataLimit);
  Buffer large = image;
  in_regions(40, 4, 0xfff00000)(large);
  in_regions(32, 8, 16 * kMiB)(large);
  put_le(large, kVhdxItems + 8, 8, 64 * kTiB);
  EXPECT_EQ(convert(large).code, code::kMetadataLimit);
}

}  // namespace
}  // namespace dvcr::test
