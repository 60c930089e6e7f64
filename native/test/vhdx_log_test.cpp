#include "block_check.h"

namespace dvcr::test {
namespace {

class VhdxLog : public BlockFormat {
 protected:
  VhdxLog() : BlockFormat("vhdx") {}
};

Buffer small_disk() {
  return patchy_disk(3 * kMiB - 4096, 65536, 3);
}

Buffer page(uint8_t fill) {
  return Buffer(4096, fill);
}

/// The pages of a table with `entries` in its first places.
Buffer table_page(std::initializer_list<uint64_t> entries) {
  Buffer out(4096);
  size_t at = 0;
  for (uint64_t entry : entries) {
    put_le(out, at, 8, entry);
    at += 8;
  }
  return out;
}

TEST_F(VhdxLog, IsReplayedBeforeAnythingIsReadAsQemuReplaysIt) {
  const Buffer disk(3 * kMiB, 0x5a);
  // The log takes block 0 away, swaps the two others, writes into one and zeros a part of the other.
  const uint64_t second = kVhdxFirstBlock + kMiB;
  const uint64_t third = second + kMiB;
  const std::vector<LogWrite> first{{.offset = kVhdxTable, .sector = table_page({0, second | 6, third | 6})},
                                    {.offset = second, .sector = page(1)},
                                    {.offset = third, .zeros = 65536}};
  const std::vector<LogWrite> next{{.offset = kVhdxTable, .sector = table_page({2, third | 6, second | 6})},
                                   {.offset = third + 4096, .sector = page(2)},
                                   {.offset = third + 61440, .sector = page(3)}};
  std::vector<LogWrite> many;  // as many as qemu can replay; two for every place
  for (size_t i = 0; i < 126; ++i) {
    many.push_back({.offset = second + 4096 * (i / 2), .sector = page(static_cast<uint8_t>(i))});
  }
  Buffer expected(3 * kMiB, 0x5a);
  std::fill_n(expected.begin(), kMiB, uint8_t{0});
  std::fill_n(expected.begin() + kMiB, 65536, uint8_t{0});
  std::fill_n(expected.begin() + kMiB + 4096, 4096, uint8_t{2});
  std::fill_n(expected.begin() + kMiB + 61440, 4096, uint8_t{3});
  for (size_t i = 0; i < 63; ++i) {
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(2 * kMiB + 4096 * i), 4096,
                static_cast<uint8_t>(2 * i + 1));
  }
  // In the middle of the ring, and around its end.
  for (size_t start : {size_t{0}, size_t{40960}, kMiB - 8192, kMiB - 20480}) {
    SCOPED_TRACE(start);
    Buffer image = make_vhdx(disk);
    size_t at = add_log_entry(image, start, start, 41, first);
    at = add_log_entry(image, at, start, 42, next);
    add_log_entry(image, at, start, 43, many);
    for (size_t chunk : {size_t{0}, size_t{1}, size_t{65537}}) {
      ConvertOptions options;
      options.chunk = chunk;
      const Converted result = convert(image, options);
      ASSERT_EQ(result.message, "");
      EXPECT_TRUE(result.disk == expected);
      EXPECT_EQ(result.info.warnings.size(), 1u);
    }
    // qemu takes the part of a sequence that wrapped to the ring's start for all of it, and leaves the rest out.
    if (start > kMiB / 2) continue;
    const std::string file = path("dirty.vhdx");
    write_file(file, image);
    run({"qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", file});
    EXPECT_TRUE(qemu_raw(file, "vhdx") == expected);
  }
}

TEST_F(VhdxLog, MayHaveEntriesWithManySectorsOfDescriptors) {
  Buffer image = make_vhdx(Buffer(2 * kMiB, 0x5a));
  std::vector<LogWrite> writes;
  Buffer expected(2 * kMiB, 0x5a);
  for (size_t i = 0; i < 200; ++i) {
    writes.push_back({.offset = kVhdxFirstBlock + 8192 * i, .sector = page(static_cast<uint8_t>(i))});
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(8192 * i), 4096, static_cast<uint8_t>(i));
  }
  add_log_entry(image, kMiB - 4096, kMiB - 4096, 1, writes);
  EXPECT_TRUE(convert(image).disk == expected);
}

TEST_F(VhdxLog, LeavesOutEntriesBeforeTheTailAndOfOtherLogs) {
  const Buffer disk(2 * kMiB, 0x5a);
  Buffer image = make_vhdx(disk);
  size_t at = add_log_entry(image, 0, 0, 7, {{.offset = kVhdxFirstBlock, .sector = page(1)}});
  const size_t tail = at;
  at = add_log_entry(image, at, tail, 8, {{.offset = kVhdxFirstBlock + 4096, .sector = page(2)}});
  at = add_log_entry(image, at, tail, 9, {{.offset = kVhdxFirstBlock + 8192, .sector = page(3)}});
  // An older sequence, and one with a gap in its numbers.
  at = add_log_entry(image, 65536, 65536, 3, {{.offset = kVhdxFirstBlock + 12288, .sector = page(4)}});
  add_log_entry(image, 131072, tail, 11, {{.offset = kVhdxFirstBlock + 16384, .sector = page(5)}});
  Buffer expected = disk;
  std::fill_n(expected.begin() + 4096, 4096, uint8_t{2});
  std::fill_n(expected.begin() + 8192, 4096, uint8_t{3});
  const Converted result = convert(image);
  EXPECT_EQ(result.message, "");
  EXPECT_TRUE(result.disk == expected);
}

TEST_F(VhdxLog, MayBeInUseWithoutAnyChange) {
  const Buffer disk = small_disk();
  Buffer image = make_vhdx(disk);
  add_log_entry(image, 4096, 4096, 1, {});
  EXPECT_TRUE(convert(image).disk == disk);
}

TEST_F(VhdxLog, IsRefusedWhenItHoldsNoValidSequence) {
  Buffer image = make_vhdx(small_disk());
  size_t end = add_log_entry(image, 0, 0, 1, {{.offset = kVhdxTable, .sector = page(0)}});
  const size_t data = kVhdxLog + 4096;
  auto sealed = [end](size_t at, unsigned width, uint64_t value) {
    return [=](Buffer& i) {
      put_le(i, kVhdxLog + at, width, value);
      seal_crc32c(i, kVhdxLog, end);
    };
  };
  expect_refused(image, {
                            {"wrong checksum", [data](Buffer& i) { i[data + 100] ^= 1; }, code::kDirty},
                            {"another log's", sealed(32, 1, 0), code::kDirty},
                            {"number 0", sealed(16, 8, 0), code::kDirty},
                            {"length not aligned", sealed(8, 4, 8193), code::kDirty},
                            {"length 0", sealed(8, 4, 0), code::kDirty},
                            {"longer than the log", sealed(8, 4, 2 * kMiB), code::kDirty},
                            {"too many descriptors", sealed(24, 4, 3), code::kDirty},
                            {"2^32-1 descriptors", sealed(24, 4, UINT32_MAX), code::kDirty},
                            {"unknown descriptor", sealed(64, 1, 'x'), code::kDirty},
                            {"descriptor of another entry", sealed(64 + 24, 8, 2), code::kDirty},
                            {"place not aligned", sealed(64 + 16, 8, 100), code::kDirty},
                            {"place that ends after 2^64", sealed(64 + 16, 8, UINT64_MAX - 4095), code::kDirty},
                            {"data of another entry", sealed(4096 + 4, 4, 1), code::kDirty},
                            {"no data", sealed(4096, 1, 'x'), code::kDirty},
                            {"tail elsewhere", sealed(12, 4, 8192), code::kDirty},
                            {"tail outside", sealed(12, 4, kMiB), code::kDirty},
                        });
}

TEST_F(VhdxLog, SaysThatTheFileWasCutWhenTheLogKnowsALongerOne) {
  Buffer image = make_vhdx(Buffer(2 * kMiB, 0x5a));
  image.resize(image.size() + kMiB);
  add_log_entry(image, 0, 0, 1, {});
  for (bool known_size : {true, false}) {
    ConvertOptions options;
    options.known_size = known_size;
    EXPECT_EQ(convert(image, options).code, "");
    Buffer cut = image;
    cut.resize(image.size() - 1);
    EXPECT_EQ(convert(cut, options).code, code::kTruncated) << known_size;
  }
}

TEST_F(VhdxLog, CannotMakeUsWorkForLong) {
  // Every sector begins an entry that is as long as the log and valid but for its checksum.
  Buffer image = make_vhdx(small_disk());
  add_log_entry(image, 0, 0, 1, {});
  const Buffer header(image.begin() + kVhdxLog, image.begin() + kVhdxLog + 4096);
  for (size_t at = 0; at < kMiB; at += 4096) {
    std::copy(header.begin(), header.end(), image.begin() + static_cast<std::ptrdiff_t>(kVhdxLog + at));
    put_le(image, kVhdxLog + at + 8, 4, kMiB);
  }
  EXPECT_EQ(convert(image).code, code::kDirty);
  // A log that is too large to hold.
  image = make_vhdx(small_disk());
  set_vhdx_headers(image, 48, 8, 1);
  set_vhdx_headers(image, 68, 4, 128 * kMiB);
  set_vhdx_headers(image, 72, 8, 64 * kMiB);
  EXPECT_EQ(convert(image).code, code::kDirty);
}

TEST_F(VhdxLog, OfManyChangesIsBoundByTheMetadataLimit) {
  Buffer image = make_vhdx(small_disk());
  std::vector<LogWrite> writes;
  for (size_t i = 0; i < 20000; ++i) writes.push_back({.offset = kGiB + 8192 * i, .zeros = 4096});
  add_log_entry(image, 0, 0, 1, writes);
  ConvertOptions options;
  EXPECT_EQ(convert(image, options).code, "");
  options.limits.max_metadata = 3 * kMiB;
  EXPECT_EQ(convert(image, options).code, code::kMetadataLimit);
}

}  // namespace
}  // namespace dvcr::test
