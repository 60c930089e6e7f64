// Files with holes: what a file system knows to be zeros is not read, and the disk is the same.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "hash.h"
#include "support.h"
#include "verify.h"

namespace dvcr::test {
namespace {

constexpr size_t kSize = 8 * kMiB + 700;

class SparseFile : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = ::open(directory_.path("disk").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(fd_, 0);
    ASSERT_EQ(::ftruncate(fd_, kSize), 0);
  }
  void TearDown() override { ::close(fd_); }

  void put(size_t offset, size_t size) {
    const std::vector<uint8_t> bytes = noise(size, offset);
    ASSERT_EQ(::pwrite(fd_, bytes.data(), size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    std::copy(bytes.begin(), bytes.end(), content_.begin() + static_cast<ptrdiff_t>(offset));
  }

  struct Read {
    std::vector<uint8_t> disk;
    uint64_t zeros;
    uint64_t source_bytes;
    std::vector<Checksum> found;
  };
  Read read(const std::vector<Checksum>& checksums) {
    FdSource file(fd_, kSize);
    VerifySource verify(file, checksums);
    PrefixSource prefix(verify);
    ScratchBudget none(0);
    ImageReader reader(prefix, {}, none, directory_.path("."));
    CollectSink sink;
    open_image(prefix, reader, {})->convert(sink);
    return {sink.disk, sink.zeros, verify.total(), verify.finish()};
  }

  TempDir directory_;
  int fd_ = -1;
  std::vector<uint8_t> content_ = std::vector<uint8_t>(kSize);
};

TEST_F(SparseFile, HolesAreTakenAsZerosWhereverTheyAre) {
  put(3 * kMiB + 4096, 5000);
  put(5 * kMiB - 1, kMiB + 2);
  const Read result = read({});
  EXPECT_TRUE(result.disk == content_);
  EXPECT_EQ(result.source_bytes, kSize);
  EXPECT_GT(result.zeros, 3 * kMiB) << "holes were read";
}

TEST_F(SparseFile, DataAtTheEndsIsRead) {
  put(0, 1);
  put(kSize - 700, 700);
  const Read result = read({});
  EXPECT_TRUE(result.disk == content_);
  EXPECT_GT(result.zeros, 5 * kMiB);
}

TEST_F(SparseFile, ADigestSeesEveryByteOfAHole) {
  put(kMiB, 100'000);
  const Read result = read({{"sha256", ""}});
  EXPECT_TRUE(result.disk == content_);
  EXPECT_EQ(result.zeros, 0);
  Digest expected("sha256");
  expected.update(content_);
  ASSERT_EQ(result.found.size(), 1);
  EXPECT_EQ(result.found[0].expected, expected.finish());
}

}  // namespace
}  // namespace dvcr::test
