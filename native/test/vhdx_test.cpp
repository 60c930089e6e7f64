#include "block_check.h"

namespace dvcr::test {
namespace {

constexpr size_t kMebibyte = 1 << 20;
constexpr size_t kBlocks = 5;
constexpr size_t kDiskSize = kBlocks * kMebibyte - 4096;
constexpr size_t kFirstBlock = kVhdxTable + kMebibyte;

Buffer small_disk() {
  return patchy_disk(kDiskSize, 65536, 3);
}

auto le(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) { put_le(image, at, width, value); };
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

TEST(Vhdx, GivesWhatQemuImgGives) {
  const TempDir directory;
  const std::vector<std::vector<std::string>> variants{{},
                                                       {"-o", "block_size=1M"},
                                                       {"-W", "-m", "8", "-o", "block_size=1M"},
                                                       {"-o", "block_size=2M,subformat=fixed"},
                                                       {"-o", "block_size=16M,log_size=2M"}};
  for (size_t size : {size_t{512}, size_t{1} << 20, (size_t{9} << 20) - 1024}) {
    for (const auto& options : variants) {
      SCOPED_TRACE(std::to_string(size) + (options.empty() ? "" : options.back()));
      const std::string path = directory.path("disk.vhdx");
      make_with_qemu(directory, path, make_disk(size, size), "vhdx", options);
      expect_as_qemu(path, "vhdx");
      EXPECT_EQ(convert(read_file(path)).info.cluster_size, qemu_number(path, "vhdx", "cluster-size"));
    }
  }
}

TEST(Vhdx, GivesTheDiskOfAVirtualMachineThatWroteInAnyOrder) {
  const TempDir directory;
  for (uint64_t seed : {1, 2, 3}) {
    const std::string path = directory.path("guest.vhdx");
    run({"qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, "30000128"});
    expect_as_qemu(path, "vhdx");
    write_like_a_guest(path, "vhdx", 30000128, 30, seed);
    expect_as_qemu(path, "vhdx");
  }
}

TEST(Vhdx, ReadsHyperVAndDisk2vhdFilesOfAnyBlockOrder) {
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

TEST(Vhdx, SkipsTheEntriesOfSectorBitmapsInALargeDisk) {
  const TempDir directory;
  const std::string path = directory.path("large.vhdx");
  run({"qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, "9T"});
  run({"qemu-io", "-f", "vhdx", path, "-c", "write -P 7 8800000000000 4096"});
  const Buffer image = read_file(path);
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

TEST(Vhdx, UsesTheOtherCopyOfADamagedHeaderOrRegionTable) {
  const Buffer disk = small_disk();
  for (size_t at : {kVhdxHeaders[0], kVhdxHeaders[1], kVhdxRegions[0], kVhdxRegions[1]}) {
    Buffer image = make_vhdx(disk);
    image[at + 100] ^= 1;
    EXPECT_TRUE(convert(image).disk == disk) << at;
  }
}

TEST(Vhdx, ReadsBlocksThatAreNotPresentAsZeros) {
  const Buffer disk(2 * kMebibyte, 0x5a);
  for (uint64_t state : {0, 1, 2, 3, 5}) {
    Buffer image = make_vhdx(disk);
    image[kVhdxTable] = static_cast<uint8_t>(state);
    const Converted result = convert(image);
    EXPECT_EQ(result.message, "");
    EXPECT_TRUE(is_zero(Bytes(result.disk).first(kMebibyte))) << state;
    EXPECT_EQ(result.size, disk.size());
  }
}

TEST(Vhdx, SaysWhereATruncatedFileEnds) {
  Buffer image = make_vhdx(Buffer(2 * kMebibyte, 0x5a));
  image.resize(image.size() - 1000);
  const Converted result = convert(image);
  EXPECT_EQ(result.code, code::kTruncated);
  EXPECT_NE(result.message.find("guest offset 2096152"), std::string::npos) << result.message;
}

TEST(Vhdx, RefusesWhatNoHonestToolWrites) {
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
      {"log that ends after 2^64", in_headers(72, 8, UINT64_MAX - kMebibyte + 1), code::kCorruptImage},
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
      {"block table that ends after 2^64", in_regions(32, 8, UINT64_MAX - kMebibyte + 1), code::kCorruptImage},
      {"block table of no bytes", in_regions(40, 4, 0), code::kCorruptImage},
      {"no metadata signature", le(kVhdxMetadata, 1, 0), code::kCorruptImage},
      {"too many metadata items", le(kVhdxMetadata + 10, 2, 2048), code::kCorruptImage},
      {"unknown item that is required", le(items + 4 * 32, 1, 0), code::kUnsupportedFeature},
      {"no file parameters", le(kVhdxMetadata + 10, 2, 0), code::kCorruptImage},
      {"two sizes", [=](Buffer& i) { std::copy_n(&i[items + 32], 32, &i[items]); }, code::kCorruptImage},
      {"item in the table", le(items + 16, 4, 0), code::kCorruptImage},
      {"item beyond its region", le(items + 16, 4, kMebibyte - 4), code::kCorruptImage},
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
      {"partially present block", le(kVhdxTable, 8, kFirstBlock | 7), code::kCorruptImage},
      {"block in an unknown state", le(kVhdxTable, 8, kFirstBlock | 4), code::kCorruptImage},
      {"block with reserved bits", le(kVhdxTable, 8, kFirstBlock | 0x806), code::kCorruptImage},
      {"block at 0", le(kVhdxTable, 8, 6), code::kCorruptImage},
      {"block in the log", le(kVhdxTable, 8, kVhdxLog | 6), code::kOverlap},
      {"block in the metadata", le(kVhdxTable, 8, kVhdxMetadata | 6), code::kOverlap},
      {"block in the block table", le(kVhdxTable, 8, kVhdxTable | 6), code::kOverlap},
      {"the same block twice", le(kVhdxTable, 8, (kFirstBlock + kMebibyte) | 6), code::kAlias},
      {"block beyond the end", le(kVhdxTable, 8, uint64_t{1} << 40 | 6), code::kTruncated},
      {"block beyond any file", le(kVhdxTable, 8, (UINT64_MAX << 20) | 6), code::kCorruptImage},
      {"cut in the headers", [](Buffer& i) { i.resize(100 << 10); }, code::kTruncated},
      {"cut in the metadata", [](Buffer& i) { i.resize(kVhdxMetadata + 100); }, code::kTruncated},
      {"cut in the block table", [](Buffer& i) { i.resize(kVhdxTable + 10); }, code::kTruncated},
  };
  expect_refused(make_vhdx(Buffer(kDiskSize, 0x5a)), damages);
}

TEST(Vhdx, RefusesOverlappingBlocks) {
  Buffer image = make_vhdx(Buffer(8 * kMebibyte, 0x5a), {.block_size = 4 << 20});
  put_le(image, kVhdxTable, 8, (kFirstBlock + 3 * kMebibyte) | 6);
  EXPECT_EQ(convert(image).code, code::kOverlap);
}

TEST(Vhdx, RefusesTablesAndDisksOverTheLimitsBeforeReadingThem) {
  const Buffer image = make_vhdx(Buffer(kDiskSize, 0x5a));
  ConvertOptions options;
  options.limits.max_virtual_size = kDiskSize - 1;
  EXPECT_EQ(convert(image, options).code, code::kTooLarge);
  options.limits = {};
  options.limits.max_metadata = 65536 + 32;
  EXPECT_EQ(convert(image, options).code, "");
  options.limits.max_metadata = 65536;
  EXPECT_EQ(convert(image, options).code, code::kMetadataLimit);
  Buffer large = image;
  in_regions(40, 4, 0xfff00000)(large);
  in_regions(32, 8, 16 * kMebibyte)(large);
  put_le(large, kVhdxItems + 8, 8, 64 * kTiB);
  EXPECT_EQ(convert(large).code, code::kMetadataLimit);
}

}  // namespace
}  // namespace dvcr::test
