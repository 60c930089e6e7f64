// Compressed clusters whose tables say more sectors than they need: qemu-img reads them, and finds nothing wrong.
#include <limits>
#include <utility>

#include "qcow2_lab.h"

namespace dvcr::test {
namespace {

using Image = std::vector<uint8_t>;

constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

/// Raises the number of sectors of each compressed cluster by `more`, as far as its field and the host cluster that it
/// ends in allow; the file may end before. Returns how many were raised.
size_t widen(Image& image, uint64_t more) {
  const unsigned bits = be32(image, 20);
  const uint64_t cluster = uint64_t{1} << bits;
  const unsigned count_shift = 62 - (bits - 8);
  const uint64_t most = (uint64_t{1} << (bits - 8)) - 1;
  size_t widened = 0;
  for (uint64_t i = 0; i < be32(image, 36); ++i) {
    const uint64_t table = be64(image, be64(image, 40) + i * 8) & kOffsetMask;
    if (table == 0) continue;
    for (uint64_t at = table; at < table + cluster; at += 8) {
      uint64_t entry = be64(image, at);
      if ((entry & kCompressed) == 0) continue;
      const uint64_t offset = entry & ((uint64_t{1} << count_shift) - 1);
      const uint64_t count = entry >> count_shift & most;
      const uint64_t last = offset / 512 + count;
      const uint64_t room = std::min((last * 512 / cluster + 1) * cluster / 512 - 1 - last, most - count);
      const uint64_t add = std::min(more, room);
      put_be(image, at, 8, entry + (add << count_shift));
      if (add > 0) ++widened;
    }
  }
  return widened;
}

/// Widens the clusters of `lab`'s image and expects the same disk as before, from a file and from pipes.
void expect_read_when_widened(const Lab& lab, size_t least) {
  const Image honest = lab.bytes();
  for (uint64_t more : {uint64_t{1}, uint64_t{2}, uint64_t{9}, kMost}) {
    Image image = honest;
    ASSERT_GE(widen(image, more), least);
    write_file(lab.image(), image);
    run({"qemu-img", "check", "-q", lab.image()});
    const Image expected = lab.expected();
    for (size_t lag : {size_t{0}, size_t{3}, size_t{1000}}) {
      ConvertOptions pipe = spilling(1000);
      pipe.known_size = false;
      pipe.lag = lag;
      expect_equal(convert(image, pipe), expected);
      ConvertOptions file = pipe;
      file.chunk = 0;
      file.known_size = file.with_ranges = true;
      expect_equal(convert(image, file), expected);
    }
  }
}

TEST(Qcow2Widened, LargeClustersAreRead) {
  Lab lab;
  lab.convert({"-c", "-o", "cluster_size=2M"});
  expect_read_when_widened(lab, 3);
}

class Widened : public testing::TestWithParam<const char*> {};

TEST_P(Widened, ClustersInOrderAreRead) {
  Lab lab;
  lab.convert({"-c", "-o", GetParam()});
  expect_read_when_widened(lab, 20);
}

TEST_P(Widened, ClustersOutOfOrderAreRead) {
  Lab lab(2u << 20, 22);
  lab.create(GetParam(), "2M");
  std::vector<std::string> writes;
  for (unsigned i = 0; i < 32; ++i) {
    const std::string place = std::to_string(i * 13 % 32 * 64) + "k 64k";
    writes.push_back("write -q -c -s " + lab.raw() + " " + place);
  }
  lab.io(writes);
  expect_read_when_widened(lab, 9);
}

TEST_P(Widened, TinyClustersThatShareASectorAreRead) {
  Lab lab;
  lab.create(GetParam(), "2M");
  std::vector<std::string> writes;
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned place = i * 13 % 32;
    writes.push_back("write -q -c -P " + std::to_string(place + 1) + " " + std::to_string(place * 64) + "k 64k");
  }
  lab.io(writes);
  expect_read_when_widened(lab, 9);
}

INSTANTIATE_TEST_SUITE_P(Qcow2, Widened,
                         testing::Values("cluster_size=64k", "cluster_size=4k",
                                         "cluster_size=16k,compression_type=zstd"),
                         [](const testing::TestParamInfo<const char*>& row) {
                           std::string name = row.param;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           return name;
                         });

TEST(Qcow2Widened, AFileCutWithinItsLastClusterIsTruncatedWhateverItsTableSays) {
  Lab lab(300 * 1024, 23);
  lab.convert({"-c"});
  Image image = lab.bytes();
  ASSERT_GT(widen(image, kMost), 0u);
  for (bool known : {false, true}) {
    Image cut(image.begin(), image.end() - 3000);
    ConvertOptions options;
    options.known_size = known;
    EXPECT_EQ(convert(cut, options).code, code::kTruncated);
  }
}

}  // namespace
}  // namespace dvcr::test
