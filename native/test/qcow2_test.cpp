// qcow2 images of every kind that qemu-img makes, compared with what qemu-img converts them to.
#include "qcow2_lab.h"

namespace dvcr::test {
namespace {

void expect_in_order(const Lab& lab) {
  std::vector<uint8_t> image = lab.bytes();
  std::vector<uint8_t> expected = lab.expected();
  for (size_t chunk : {size_t{4095}, size_t{1} << 20}) {
    Converted result = convert(image, streaming(chunk));
    expect_equal(result, expected);
    EXPECT_EQ(result.scratch_peak, 0u);
    expect_equal(convert(image, spilling(chunk)), expected);
  }
  ConvertOptions ranged = streaming(65536);
  ranged.with_ranges = true;
  ranged.known_size = true;
  expect_equal(convert(image, ranged), expected);
}

void expect_out_of_order(const Lab& lab) {
  std::vector<uint8_t> image = lab.bytes();
  std::vector<uint8_t> expected = lab.expected();
  for (size_t chunk : {size_t{4095}, size_t{1} << 20}) {
    Converted result = convert(image, spilling(chunk));
    expect_equal(result, expected);
    EXPECT_GT(result.scratch_peak, 0u);
    EXPECT_LE(result.scratch_peak, image.size() + 4096);
  }
  ConvertOptions in_memory = spilling(65536);
  in_memory.limits.hold_window = 64 * kMiB;
  in_memory.limits.max_scratch = 0;
  expect_equal(convert(image, in_memory), expected);
  ConvertOptions short_of_scratch = spilling(65536);
  short_of_scratch.limits.max_scratch = 64 * kKiB;
  EXPECT_EQ(convert(image, short_of_scratch).code, code::kScratchLimit);
}

class InOrder : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(InOrder, StreamsWithoutScratch) {
  Lab lab;
  lab.convert(GetParam());
  expect_in_order(lab);
}

INSTANTIATE_TEST_SUITE_P(Qcow2, InOrder,
                         testing::Values(std::vector<std::string>{}, std::vector<std::string>{"-c"},
                                         std::vector<std::string>{"-c", "-o", "compression_type=zstd"},
                                         std::vector<std::string>{"-o", "cluster_size=512"},
                                         std::vector<std::string>{"-o", "cluster_size=4k"},
                                         std::vector<std::string>{"-o", "cluster_size=2M"},
                                         std::vector<std::string>{"-c", "-o", "cluster_size=512"},
                                         std::vector<std::string>{"-c", "-o", "cluster_size=4k"},
                                         std::vector<std::string>{"-c", "-o", "cluster_size=2M"},
                                         std::vector<std::string>{"-c", "-o", "cluster_size=4k,compression_type=zstd"},
                                         std::vector<std::string>{"-o", "extended_l2=on,cluster_size=64k"},
                                         std::vector<std::string>{"-c", "-o", "extended_l2=on,cluster_size=16k"},
                                         std::vector<std::string>{"-o", "compat=0.10"},
                                         std::vector<std::string>{"-c", "-o", "compat=0.10"},
                                         std::vector<std::string>{"-o", "lazy_refcounts=on"},
                                         std::vector<std::string>{"-o", "preallocation=metadata"},
                                         std::vector<std::string>{"-S", "0"},
                                         std::vector<std::string>{"-o", "refcount_bits=1"}),
                         [](const testing::TestParamInfo<std::vector<std::string>>& row) {
                           std::string name = "Convert";
                           for (const std::string& word : row.param) name += "_" + word;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           return name;
                         });

TEST(Qcow2, GivesTheSameForEachChunkSize) {
  Lab lab(200'704, 5);
  lab.convert({"-c", "-o", "cluster_size=4k"});
  std::vector<uint8_t> image = lab.bytes();
  for (size_t chunk : {size_t{1}, size_t{7}, size_t{511}, size_t{512}, size_t{513}}) {
    expect_equal(convert(image, streaming(chunk)), lab.disk());
  }
}

TEST(Qcow2, ReadsAResizedImageWhoseMapIsAtTheEnd) {
  for (const char* compressed : {"-c", "-q"}) {
    Lab lab;
    // An L1 table of one cluster of 512 bytes covers 2 MiB; a larger disk moves it to the end.
    lab.convert({compressed, "-o", "cluster_size=512"});
    run({"qemu-img", "resize", "-q", lab.image(), "24M"});
    expect_out_of_order(lab);
    ConvertOptions ranged = streaming(0);
    ranged.with_ranges = true;
    ranged.known_size = true;
    Converted result = convert(lab.bytes(), ranged);
    expect_equal(result, lab.expected());
    EXPECT_EQ(result.scratch_peak, 0u) << "where the origin has random access the map is fetched first";
  }
}

TEST(Qcow2, ReadsAGrownImageAndAShrunkOne) {
  Lab lab;
  lab.convert({"-o", "cluster_size=4k"});
  run({"qemu-img", "resize", "-q", lab.image(), "7M"});
  expect_in_order(lab);
  run({"qemu-img", "resize", "-q", "--shrink", lab.image(), "3M"});
  expect_in_order(lab);
}

TEST(Qcow2, ReadsImagesWrittenOutOfOrder) {
  for (const char* options : {"cluster_size=64k", "cluster_size=512", "cluster_size=64k,extended_l2=on"}) {
    Lab lab;
    lab.create(options, "8M");
    std::vector<std::string> writes;
    for (unsigned i = 0; i < 64; ++i) {
      // 37 is coprime to 64: each 128 KiB once, in a scrambled order.
      unsigned place = i * 37 % 64;
      writes.push_back("write -q -P " + std::to_string(place + 1) + " " + std::to_string(place * 128 + i % 3) + "k " +
                       std::to_string(16 + i) + "k");
    }
    lab.io(writes);
    expect_out_of_order(lab);
  }
}

TEST(Qcow2, ReadsCompressedClustersWrittenOutOfOrder) {
  for (const char* options : {"cluster_size=64k", "cluster_size=4k", "cluster_size=16k,compression_type=zstd"}) {
    Lab lab(4u << 20, 9);
    lab.create(options, "4M");
    std::vector<std::string> writes;
    for (unsigned i = 0; i < 64; ++i) {
      unsigned place = i * 37 % 64;
      std::string where = std::to_string(place * 64) + "k 64k";
      writes.push_back((i % 5 == 0 ? "write -q -P 7 " : "write -q -c -s " + lab.raw() + " ") + where);
    }
    lab.io(writes);
    expect_out_of_order(lab);
  }
}

TEST(Qcow2, ReadsTinyCompressedClustersThatShareASectorInAnyOrder) {
  Lab lab;
  lab.create("cluster_size=64k", "8M");
  std::vector<std::string> writes;
  for (unsigned i = 0; i < 128; ++i) {
    unsigned place = i * 37 % 128;
    writes.push_back("write -q -c -P " + std::to_string(place + 1) + " " + std::to_string(place * 64) + "k 64k");
  }
  lab.io(writes);
  std::vector<uint8_t> expected = lab.expected();
  for (size_t lag : {size_t{0}, size_t{3}, size_t{1000}}) {
    ConvertOptions options = streaming(1000);
    options.lag = lag;
    Converted result = convert(lab.bytes(), options);
    expect_equal(result, expected);
    EXPECT_EQ(result.units, 128u);
  }
}

TEST(Qcow2, ReadsUnorderedConversions) {
  Lab lab;
  lab.convert({"-W", "-m", "16"});
  std::vector<uint8_t> image = lab.bytes();
  expect_equal(convert(image, spilling(4095)), lab.expected());
  lab.convert({"-c", "-W", "-m", "16"});
  expect_equal(convert(lab.bytes(), spilling(4095)), lab.expected());
}

TEST(Qcow2, ReadsTheCurrentDiskOfAnImageWithSnapshots) {
  Lab lab;
  lab.convert({});
  run({"qemu-img", "snapshot", "-c", "one", lab.image()});
  lab.io({"write -q -P 5 1M 1M", "write -q -z 3M 100k", "discard -q 4M 1M"});
  run({"qemu-img", "snapshot", "-c", "two", lab.image()});
  lab.io({"write -q -P 9 100k 300k"});
  Converted result = convert(lab.bytes(), spilling(65536));
  expect_equal(result, lab.expected());
  ASSERT_EQ(result.info.warnings.size(), 1u);
  EXPECT_NE(result.info.warnings[0].find("2 internal snapshots"), std::string::npos);
  run({"qemu-img", "snapshot", "-d", "one", lab.image()});
  expect_equal(convert(lab.bytes(), spilling(65536)), lab.expected());
}

TEST(Qcow2, ReadsZeroAndDiscardedClusters) {
  for (const char* options : {"cluster_size=64k", "cluster_size=16k,extended_l2=on"}) {
    Lab lab;
    lab.create(options, "8M");
    lab.io({"write -q -P 1 0 4M", "write -q -z 64k 200k", "write -q -z -u 1M 1M", "discard -q 3M 70k",
            "write -q -P 2 1100k 5k"});
    expect_in_order(lab);
  }
}

TEST(Qcow2, EmitsHolesWithoutReadingAnything) {
  Lab lab;
  lab.create("cluster_size=64k", "1T");
  ConvertOptions options = streaming(0);
  Converted result = convert(lab.bytes(), options);
  EXPECT_EQ(result.code, "");
  EXPECT_EQ(result.size, kTiB);
  EXPECT_EQ(result.zeros, kTiB);
}

TEST(Qcow2, DescribesItselfAsQemuImgDoes) {
  Lab lab;
  lab.convert({"-o", "extended_l2=on,compression_type=zstd,lazy_refcounts=on,cluster_size=32k"});
  DiskInfo info = convert(lab.bytes()).info;
  EXPECT_EQ(info.format, "qcow2");
  EXPECT_EQ(info.cluster_size, 32768u);
  EXPECT_EQ(info.virtual_size, lab.disk().size());
  std::vector<std::pair<std::string, FieldValue>> fields;
  for (const Field& field : info.specific) fields.emplace_back(field.name, field.value);
  EXPECT_EQ(fields, (std::vector<std::pair<std::string, FieldValue>>{{"compat", std::string("1.1")},
                                                                     {"compression-type", std::string("zstd")},
                                                                     {"lazy-refcounts", true},
                                                                     {"refcount-bits", uint64_t{16}},
                                                                     {"corrupt", false},
                                                                     {"extended-l2", true}}));
  lab.convert({"-o", "compat=0.10"});
  EXPECT_EQ(convert(lab.bytes()).info.specific.size(), 3u);
}

TEST(Qcow2, ListsBitmapsWhereItCanReadThem) {
  Lab lab;
  lab.convert({});
  run({"qemu-img", "bitmap", "--add", lab.image(), "nightly"});
  run({"qemu-img", "bitmap", "--add", "-g", "128k", "--disable", lab.image(), "old"});
  ConvertOptions options;
  options.with_ranges = true;
  const Converted result = convert(lab.bytes(), options);
  expect_equal(result, lab.disk());
  const FieldRows expected{
      {{"flags", std::vector<std::string>{"auto"}}, {"name", std::string("nightly")}, {"granularity", uint64_t{65536}}},
      {{"flags", std::vector<std::string>{}}, {"name", std::string("old")}, {"granularity", uint64_t{131072}}}};
  const std::vector<Field>& fields = result.info.specific;
  const auto bitmaps = std::find_if(fields.begin(), fields.end(), [](const Field& f) { return f.name == "bitmaps"; });
  ASSERT_NE(bitmaps, fields.end());
  EXPECT_TRUE(std::get<FieldRows>(bitmaps->value) == expected);
  EXPECT_TRUE(result.info.warnings.empty());
  // A directory that cannot be is a warning: it says nothing of the disk. Its place is in the first header extensions.
  std::vector<uint8_t> damaged = lab.bytes();
  const std::string_view type("\x23\x85\x28\x75");
  const auto extension = std::search(damaged.begin(), damaged.begin() + 4096, type.begin(), type.end(),
                                     [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); });
  put_be(damaged, static_cast<size_t>(extension - damaged.begin()) + 8 + 16, 8, damaged.size());
  const Converted without = convert(damaged, options);
  expect_equal(without, lab.disk());
  EXPECT_EQ(without.info.warnings.size(), 1u);
}

}  // namespace
}  // namespace dvcr::test
