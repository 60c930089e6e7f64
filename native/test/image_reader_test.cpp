#include "image_reader.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <random>

namespace dvcr {
namespace {

std::vector<uint8_t> noise(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

std::string scratch_directory() {
  return std::filesystem::temp_directory_path().string();
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(error.code());
  }
  return "";
}

struct Fixture {
  explicit Fixture(Bytes bytes, Limits limits = {}, size_t chunk = 0)
      : source(bytes, chunk), budget(limits.max_scratch), reader(source, limits, budget, scratch_directory()) {}
  std::vector<uint8_t> read(uint64_t offset, size_t length) {
    std::vector<uint8_t> out(length, 0xee);
    reader.read_at(offset, out, "a test");
    return out;
  }
  MemorySource source;
  ScratchBudget budget;
  ImageReader reader;
};

std::vector<uint8_t> part(const std::vector<uint8_t>& bytes, size_t offset, size_t length) {
  return {bytes.begin() + static_cast<ptrdiff_t>(offset), bytes.begin() + static_cast<ptrdiff_t>(offset + length)};
}

TEST(ImageReader, ReadsInAnyOrderFromMemoryAndScratchWithAnyChunking) {
  std::vector<uint8_t> image = noise(1u << 20, 1);
  std::fill(image.begin() + 100'000, image.begin() + 300'000, uint8_t{0});
  for (size_t chunk : {size_t{0}, size_t{1}, size_t{511}, size_t{4095}, size_t{65536}}) {
    for (uint64_t window : {uint64_t{0}, 64 * kKiB, 16 * kMiB}) {
      for (size_t piece : {size_t{512}, size_t{4096}, size_t{5 * 512}, size_t{65536}}) {
        Limits limits;
        limits.hold_window = window;
        Fixture fixture(image, limits, chunk);
        std::vector<size_t> places;
        for (size_t at = 0; at < image.size(); at += piece) places.push_back(at);
        std::shuffle(places.begin(), places.end(), std::mt19937_64(7));
        for (size_t at : places) {
          size_t length = std::min(piece, image.size() - at);
          ASSERT_EQ(fixture.read(at, length), part(image, at, length)) << "at " << at << ", chunks of " << chunk;
        }
        EXPECT_EQ(fixture.budget.used(), 0u) << "all of it was read, so nothing may stay in scratch";
      }
    }
  }
}

TEST(ImageReader, NeedsNoScratchForAStreamReadInOrder) {
  std::vector<uint8_t> image = noise(300'000, 2);
  Limits limits;
  limits.max_scratch = 0;
  limits.hold_window = 0;
  Fixture fixture(image, limits, 1000);
  for (size_t at = 0; at < image.size(); at += 30'000) EXPECT_EQ(fixture.read(at, 30'000), part(image, at, 30'000));
  EXPECT_EQ(fixture.budget.peak(), 0u);
}

TEST(ImageReader, HoldsNoZeros) {
  std::vector<uint8_t> image(1u << 20);
  image.back() = 1;
  Limits limits;
  limits.max_scratch = 0;
  limits.hold_window = 0;
  Fixture fixture(image, limits);
  EXPECT_EQ(fixture.read(image.size() - 512, 512).back(), 1);
  EXPECT_EQ(fixture.read(4096, 8192), std::vector<uint8_t>(8192));
}

TEST(ImageReader, ReadsAcrossThePositionOfTheStream) {
  std::vector<uint8_t> image = noise(200'000, 3);
  Fixture fixture(image);
  fixture.read(100'000, 1000);
  EXPECT_EQ(fixture.read(90'000, 10'000), part(image, 90'000, 10'000));
  EXPECT_EQ(fixture.reader.position(), 101'000u);
  Fixture other(image);
  other.read(102'400, 512);
  other.read(103'424, 512);
  std::vector<uint8_t> across = other.read(102'912, 512);
  EXPECT_EQ(across, part(image, 102'912, 512));
}

TEST(ImageReader, ReadsOnePieceThatBeginsBeforeAndEndsBehindThePosition) {
  std::vector<uint8_t> image = noise(200'000, 4);
  Fixture fixture(image);
  std::vector<uint8_t> none(0);
  fixture.reader.read_at(65'536, none, "nothing");
  EXPECT_EQ(fixture.reader.position(), 65'536u);
  EXPECT_EQ(fixture.read(60'000, 20'000), part(image, 60'000, 20'000));
  EXPECT_EQ(fixture.reader.position(), 80'000u);
}

TEST(ImageReader, SpillsWhatTheWindowCannotHoldAndGivesItBack) {
  std::vector<uint8_t> image = noise(512 * 1024, 5);
  Limits limits;
  limits.hold_window = 64 * kKiB;
  Fixture fixture(image, limits);
  fixture.read(image.size() - 512, 512);
  uint64_t held = fixture.budget.used();
  EXPECT_GE(held, image.size() - 2 * limits.hold_window);
  EXPECT_LE(held, image.size());
  fixture.read(256 * 1024, 128 * 1024);
  EXPECT_EQ(fixture.budget.used(), held - 128 * 1024);
  EXPECT_EQ(fixture.budget.peak(), held);
}

TEST(ImageReader, NeverPassesTheScratchLimit) {
  std::vector<uint8_t> image = noise(512 * 1024, 6);
  Limits limits;
  limits.hold_window = 0;
  limits.max_scratch = 128 * 1024;
  Fixture fixture(image, limits);
  EXPECT_EQ(code_of([&] { fixture.read(400 * 1024, 512); }), code::kScratchLimit);
  EXPECT_LE(fixture.budget.peak(), limits.max_scratch);
}

TEST(ImageReader, HoldsNothingOfADiscardedRange) {
  std::vector<uint8_t> image = noise(64 * 1024, 7);
  Limits limits;
  limits.hold_window = 0;
  limits.max_scratch = 8 * 1024;
  Fixture fixture(image, limits, 100);
  fixture.reader.discard(4096, 20'000);
  fixture.reader.discard(20'000, 40 * 1024);
  EXPECT_EQ(fixture.read(61'440, 512), part(image, 61'440, 512));
  EXPECT_EQ(fixture.read(0, 4096), part(image, 0, 4096));
  EXPECT_EQ(fixture.budget.used(), 4096u) << "60,960 to 61,440";
}

TEST(ImageReader, GivesBackWhatWasReadTooFar) {
  std::vector<uint8_t> image = noise(64 * 1024, 8);
  Fixture fixture(image);
  fixture.read(0, 8192);
  fixture.reader.put_back(7680, Bytes(image).subspan(7680, 512));
  EXPECT_EQ(fixture.read(7680, 1024), part(image, 7680, 1024));
}

TEST(ImageReader, NamesWhatIsMissing) {
  std::vector<uint8_t> image = noise(1000, 9);
  Fixture fixture(image);
  EXPECT_EQ(code_of([&] { fixture.read(900, 101); }), code::kTruncated);
  EXPECT_EQ(code_of([&] { fixture.read(UINT64_MAX - 5, 100); }), code::kTruncated);
  std::vector<uint8_t> out(200);
  EXPECT_EQ(fixture.reader.read_some_at(900, out), 100u);
  EXPECT_EQ(fixture.reader.drain(), 1000u);
}

TEST(ImageReader, DrainsWithoutHolding) {
  std::vector<uint8_t> image = noise(1u << 20, 10);
  Limits limits;
  limits.hold_window = 0;
  limits.max_scratch = 0;
  Fixture fixture(image, limits, 1000);
  EXPECT_EQ(fixture.reader.drain(), image.size());
}

class ForgetfulRanges final : public RangeReader {
 public:
  explicit ForgetfulRanges(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }
  int requests = 0;

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    ++requests;
    Bytes from = slice(bytes_, offset, out.size());
    std::copy(from.begin(), from.end(), out.begin());
    return true;
  }

  Bytes bytes_;
};

class RangedSource final : public ByteSource {
 public:
  RangedSource(Bytes bytes, RangeReader& ranges) : inner_(bytes), ranges_(ranges) {}
  Bytes peek() override { return inner_.peek(); }
  void consume(size_t count) override { inner_.consume(count); }
  RangeReader* ranges() override { return &ranges_; }

 private:
  MemorySource inner_;
  RangeReader& ranges_;
};

TEST(ImageReader, FetchesTablesFarAheadWithoutHolding) {
  std::vector<uint8_t> image = noise(4u << 20, 11);
  ForgetfulRanges ranges(image);
  RangedSource source(image, ranges);
  Limits limits;
  limits.hold_window = 0;
  limits.max_scratch = 0;
  ScratchBudget budget(0);
  ImageReader reader(source, limits, budget, scratch_directory());
  std::vector<uint8_t> table(65536);
  reader.read_metadata_at(3u << 20, table, "a table");
  EXPECT_EQ(table, part(image, 3u << 20, 65536));
  EXPECT_EQ(ranges.requests, 1);
  EXPECT_EQ(reader.position(), 0u);
  std::vector<uint8_t> all(3u << 20);
  reader.read_at(0, all, "the data");
  std::vector<uint8_t> rest((1u << 20) - 65536);
  reader.read_at((3u << 20) + 65536, rest, "the rest");
  EXPECT_EQ(rest, part(image, (3u << 20) + 65536, rest.size()));
  EXPECT_EQ(budget.peak(), 0u);
}

TEST(ImageReader, RemembersOnlySoManyTablesThatWereFetched) {
  const std::vector<uint8_t> image = noise(4u << 20, 11);
  ForgetfulRanges ranges(image);
  RangedSource source(image, ranges);
  Limits limits;
  limits.max_metadata = 1024;
  ScratchBudget budget(limits.max_scratch);
  ImageReader reader(source, limits, budget, scratch_directory());
  std::vector<uint8_t> table(4096);
  for (size_t i = 0; i < 8; ++i) {
    const size_t at = (3u << 20) + i * 65536;
    reader.read_metadata_at(at, table, "a table");
    EXPECT_EQ(table, part(image, at, table.size()));
  }
  EXPECT_EQ(ranges.requests, 2) << "the others were read by going there";
  std::vector<uint8_t> data(3u << 20);
  reader.read_at(0, data, "the data");
  EXPECT_EQ(data, part(image, 0, data.size())) << "and what was passed on the way is held";
}

TEST(ImageReader, IsBoundedWhereWhatItHoldsIsScattered) {
  std::vector<uint8_t> image(8u << 20);
  for (size_t at = 0; at < image.size(); at += 65536) image[at] = 1;
  Limits limits;
  limits.hold_window = 4096;
  limits.max_scratch = 1 << 20;
  limits.max_metadata = 128 * 128;
  Fixture enough(image, limits);
  EXPECT_EQ(enough.read(image.size() - 512, 512), part(image, image.size() - 512, 512));
  EXPECT_EQ(enough.read(0, 1u << 20), part(image, 0, 1u << 20));
  limits.max_metadata = 64 * 128;
  Fixture fixture(image, limits);
  EXPECT_EQ(code_of([&] { fixture.read(image.size() - 512, 512); }), code::kMetadataLimit);
}

TEST(ImageReader, NoticesThatTheStreamDiffersFromWhatWasFetched) {
  std::vector<uint8_t> image = noise(4u << 20, 11);
  std::vector<uint8_t> other = image;
  other[(3u << 20) + 5] ^= 1;
  ForgetfulRanges ranges(other);
  for (bool drained : {true, false}) {
    RangedSource source(image, ranges);
    ScratchBudget budget(0);
    ImageReader reader(source, Limits{}, budget, scratch_directory());
    std::vector<uint8_t> table(65536);
    reader.read_metadata_at(3u << 20, table, "a table");
    std::vector<uint8_t> all(image.size());
    EXPECT_EQ(code_of([&] {
                if (drained) {
                  reader.drain();
                } else {
                  reader.read_at(0, all, "all");
                }
              }),
              code::kSourceIo);
  }
}

TEST(ScratchFile, BooksPagesOnce) {
  ScratchBudget budget(1u << 20);
  std::vector<uint8_t> bytes = noise(10'000, 12);
  {
    ScratchFile file(scratch_directory(), budget);
    file.write_at(5000, bytes);
    EXPECT_EQ(budget.used(), 3 * 4096u) << "5,000 to 15,000 touches pages 1 to 3";
    file.write_at(5000, bytes);
    EXPECT_EQ(budget.used(), 3 * 4096u);
    file.release(4096, 4095);
    EXPECT_EQ(budget.used(), 3 * 4096u) << "no whole page";
    file.release(4096, 5000);
    EXPECT_EQ(budget.used(), 2 * 4096u);
    std::vector<uint8_t> out(10'000);
    file.read_at(5000, out);
    EXPECT_TRUE(is_zero(Bytes(out).first(3192)));
    EXPECT_TRUE(std::equal(out.begin() + 3192, out.end(), bytes.begin() + 3192));
    file.release(0, 1u << 30);
    EXPECT_EQ(budget.used(), 0u);
    file.write_at(1'000'000, bytes);
  }
  EXPECT_EQ(budget.used(), 0u) << "a closed file holds nothing";
}

TEST(ScratchFile, LeavesNoNameBehind) {
  std::string directory = scratch_directory() + "/dvcr-scratch-test-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  ScratchBudget budget(1u << 20);
  ScratchFile file(directory, budget);
  file.write_at(0, noise(100, 13));
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  std::filesystem::remove(directory);
}

TEST(ScratchFile, SaysThatTheDirectoryIsMissing) {
  ScratchBudget budget(1u << 20);
  ScratchFile file("/nonexistent/directory", budget);
  EXPECT_EQ(code_of([&] { file.write_at(0, noise(1, 1)); }), code::kScratchIo);
}

TEST(ScratchFile, SaysThatTheFileSystemTakesNoMore) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 8192;
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  ScratchBudget budget(1u << 20);
  ScratchFile file(scratch_directory(), budget);
  std::string found = code_of([&] { file.write_at(0, noise(20'000, 14)); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(found, code::kScratchIo);
}

TEST(ClusterClaims, RefusesAPlaceUsedTwice) {
  ClusterClaims claims(16, kMiB);
  claims.claim(0, 65536, Use::kMetadata);
  claims.claim(65536, 3 * 65536, Use::kData);
  claims.claim(5 * 65536, 10, Use::kShared);
  claims.claim(5 * 65536 + 10, 10, Use::kShared);
  EXPECT_EQ(code_of([&] { claims.claim(2 * 65536, 1, Use::kData); }), code::kAlias);
  EXPECT_EQ(code_of([&] { claims.claim(2 * 65536, 1, Use::kShared); }), code::kOverlap);
  EXPECT_EQ(code_of([&] { claims.claim(0, 1, Use::kData); }), code::kOverlap);
  EXPECT_EQ(code_of([&] { claims.claim(4 * 65536, 65537, Use::kData); }), code::kOverlap);
  EXPECT_EQ(claims.use_of(3 * 65536 + 5), Use::kData);
  EXPECT_EQ(claims.use_of(77 * 65536), Use::kFree);
}

TEST(ClusterClaims, IsBoundedWhateverOffsetsAreClaimed) {
  ClusterClaims claims(9, 64 * kKiB);
  claims.claim(uint64_t{1} << 55, 512, Use::kData);
  EXPECT_EQ(code_of([&] {
              for (uint64_t i = 0; i < 100; ++i) claims.claim(i << 40, 512, Use::kData);
            }),
            code::kMetadataLimit);
}

TEST(ByteClaims, RefusesSharedBytesButNotSharedClusters) {
  ByteClaims claims(kMiB);
  claims.claim(1000, 100);
  claims.claim(1200, 100);
  claims.claim(1100, 100);
  EXPECT_EQ(code_of([&] { claims.claim(1299, 1); }), code::kAlias);
  EXPECT_EQ(code_of([&] { claims.claim(900, 101); }), code::kAlias);
  claims.claim(1300, 1);
  claims.claim(999, 1);
  std::vector<uint8_t> bytes(512, 1);
  EXPECT_TRUE(claims.covers(1000, Bytes(bytes).first(300)));
  EXPECT_FALSE(claims.covers(1000, bytes));
  std::fill(bytes.begin() + 301, bytes.end(), uint8_t{0});
  EXPECT_TRUE(claims.covers(1000, bytes)) << "zeros need no claim";
  EXPECT_FALSE(claims.covers(900, Bytes(bytes).first(200)));
}

TEST(ByteClaims, IsBounded) {
  ByteClaims claims(640);
  EXPECT_EQ(code_of([&] {
              for (uint64_t i = 0; i < 100; ++i) claims.claim(i * 10, 1);
            }),
            code::kMetadataLimit);
}

}  // namespace
}  // namespace dvcr
