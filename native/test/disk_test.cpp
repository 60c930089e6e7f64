// Disks as they are written: files, devices, pipes and qcow2 files, read back by other means than those that wrote
// them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "disk/device_output.h"
#include "disk/disk_sink.h"
#include "disk/read_back.h"
#include "hash.h"
#include "zero_bytes.h"

namespace dvcr {
namespace {

/// A file without a name in the working directory, which is on a disk.
class TestFile {
 public:
  TestFile() : fd_(::open(".", O_TMPFILE | O_RDWR, 0600)) {
    if (fd_ < 0) throw std::runtime_error("no temporary file");
  }
  ~TestFile() { ::close(fd_); }
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  void fill(size_t size, uint8_t value) const {
    const std::vector<uint8_t> bytes(size, value);
    ASSERT_EQ(::pwrite(fd_, bytes.data(), size, 0), static_cast<ssize_t>(size));
    ASSERT_EQ(::fsync(fd_), 0);
  }
  [[nodiscard]] std::vector<uint8_t> content() const {
    ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) & ~O_DIRECT);
    struct stat status {};
    EXPECT_EQ(::fstat(fd_, &status), 0);
    std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
    EXPECT_EQ(::pread(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  [[nodiscard]] uint64_t allocated() const {
    struct stat status {};
    EXPECT_EQ(::fstat(fd_, &status), 0);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  }

 private:
  int fd_;
};

/// Noise, short and long holes, and an end that is no whole sector.
std::vector<uint8_t> sample_disk(size_t size) {
  std::vector<uint8_t> disk(size);
  std::mt19937 random(7);
  for (const auto& [from, length] : {std::pair<size_t, size_t>{0, 70'000},
                                     {200'000, 4096},
                                     {kMiB - 100, 5000},
                                     {3 * kMiB + 12'288, 700'000},
                                     {size - 300, 300}}) {
    for (size_t i = 0; i < length; ++i) disk[from + i] = static_cast<uint8_t>(random());
  }
  return disk;
}

/// Hands `disk` to a sink: in pieces of `piece` bytes, with holes as such where `holes`.
void feed(DiskSink& sink, Bytes disk, size_t piece, bool holes) {
  sink.start({disk.size(), true, "test", true});
  for (size_t at = 0; at < disk.size();) {
    const Bytes part = disk.subspan(at, std::min(piece, disk.size() - at));
    at += part.size();
    if (holes && is_zero(part)) {
      sink.zero(part.size());
      continue;
    }
    for (Bytes rest = part; !rest.empty();) {
      const MutableBytes room = sink.reserve(rest.size());
      const size_t count = std::min(room.size(), rest.size());
      std::copy_n(rest.begin(), count, room.begin());
      sink.commit(count);
      rest = rest.subspan(count);
    }
  }
  sink.finish();
}

DiskResult write_disk(DiskOutput& output, Bytes disk, DiskOptions options, size_t piece, bool holes) {
  DiskSink sink(std::move(options), Limits{}, output);
  feed(sink, disk, piece, holes);
  return sink.result();
}

DiskOptions with_threads(unsigned threads) {
  DiskOptions options;
  options.threads = threads;
  options.verify = true;
  options.checksums = {{"sha256", ""}};
  return options;
}

std::string sha256(Bytes bytes) {
  Digest digest("sha256");
  digest.update(bytes);
  return digest.finish();
}

/// The code of the error that `body` throws; empty where it throws none.
template <typename Body>
std::string_view code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

class EveryWay : public testing::TestWithParam<std::tuple<unsigned, size_t, bool>> {};

TEST_P(EveryWay, AFileHoldsTheDiskAndIsSparse) {
  const auto [threads, piece, holes] = GetParam();
  const std::vector<uint8_t> disk = sample_disk(6 * kMiB + 700);
  const TestFile file;
  const auto output = make_file_output(file.fd(), 0);
  const DiskResult result = write_disk(*output, disk, with_threads(threads), piece, holes);
  EXPECT_EQ(file.content(), disk);
  EXPECT_EQ(result.content_size, disk.size());
  EXPECT_EQ(result.checksums.at(0).expected, sha256(disk));
  EXPECT_LE(file.allocated(), 900'000u);
}

TEST_P(EveryWay, ADeviceEndsWithTheDiskAndZeros) {
  const auto [threads, piece, holes] = GetParam();
  const std::vector<uint8_t> disk = sample_disk(6 * kMiB + 700);
  for (const DeviceAbilities abilities : {DeviceAbilities{true, true}, DeviceAbilities{false, false}}) {
    const TestFile device;
    device.fill(9 * kMiB, 0xaa);
    const auto output = make_device_output(device.fd(), abilities);
    write_disk(*output, disk, with_threads(threads), piece, holes);
    std::vector<uint8_t> expected = disk;
    expected.resize(9 * kMiB);
    EXPECT_EQ(device.content(), expected);
  }
}

TEST_P(EveryWay, APipeGetsTheDiskInOrder) {
  const auto [threads, piece, holes] = GetParam();
  const std::vector<uint8_t> disk = sample_disk(4 * kMiB + 700);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  std::vector<uint8_t> received;
  std::thread reader([&] {
    std::vector<uint8_t> buffer(100'000);
    for (ssize_t got = 0; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
      received.insert(received.end(), buffer.begin(), buffer.begin() + got);
    }
  });
  {
    DiskOptions options = with_threads(threads);
    options.verify = false;
    options.size = 5 * kMiB;
    const auto output = make_pipe_output(ends[1], options.size);
    write_disk(*output, disk, options, piece, holes);
  }
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
  std::vector<uint8_t> expected = disk;
  expected.resize(5 * kMiB);
  EXPECT_EQ(received, expected);
}

INSTANTIATE_TEST_SUITE_P(Disk, EveryWay,
                         testing::Combine(testing::Values(1u, 3u), testing::Values<size_t>(4096, 65'537, 2 * kMiB),
                                          testing::Bool()));

TEST(Disk, OfAnotherSizeThanSaidIsRefused) {
  const TestFile file;
  const auto output = make_file_output(file.fd(), 0);
  DiskSink sink({}, Limits{}, *output);
  sink.start({8192, true, "test", true});
  sink.zero(4096);
  EXPECT_THROW(sink.finish(), Error);
}

TEST(Disk, ThatDoesNotFitTheDeviceIsRefusedBeforeAByteIsWritten) {
  const TestFile device;
  device.fill(kMiB, 0xaa);
  const auto output = make_device_output(device.fd());
  DiskSink sink({}, Limits{}, *output);
  try {
    sink.start({kMiB + 1, true, "test", true});
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code::kDiskTooSmall);
  }
  EXPECT_EQ(device.content(), std::vector<uint8_t>(kMiB, 0xaa));
}

TEST(Disk, WithAWrongChecksumIsRefused) {
  const TestFile file;
  const auto output = make_file_output(file.fd(), 0);
  DiskOptions options;
  options.checksums = {{"sha256", std::string(64, '0')}};
  const std::vector<uint8_t> disk = sample_disk(5 * kMiB);
  try {
    write_disk(*output, disk, options, 65'536, true);
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code::kChecksum);
  }
}

TEST(ReadBack, SeesWhatWasChangedOnTheMedium) {
  const std::vector<uint8_t> disk = sample_disk(5 * kMiB + 700);
  const TestFile file;
  const auto output = make_file_output(file.fd(), 0);
  // It stays: what it is destroyed with cancels the output.
  DiskSink sink({}, Limits{}, *output);
  feed(sink, disk, 65'536, true);
  output->verify(disk.size(), sha256(disk));
  for (const size_t at : {size_t{0}, size_t{2 * kMiB}, disk.size() - 1}) {
    // In a hole too.
    const uint8_t changed = disk[at] ^ 1;
    ::fcntl(file.fd(), F_SETFL, ::fcntl(file.fd(), F_GETFL) & ~O_DIRECT);
    ASSERT_EQ(::pwrite(file.fd(), &changed, 1, static_cast<off_t>(at)), 1);
    EXPECT_EQ(code_of([&] { output->verify(disk.size(), sha256(disk)); }), code::kDiskReadBack) << at;
    ASSERT_EQ(::pwrite(file.fd(), &disk[at], 1, static_cast<off_t>(at)), 1);
  }
  ASSERT_EQ(::ftruncate(file.fd(), 5 * kMiB), 0);
  EXPECT_EQ(code_of([&] { output->verify(disk.size(), sha256(disk)); }), code::kDiskReadBack);
}

TEST(ReadBack, SeesAChangedQcow2File) {
  for (const Qcow2Compression compression : {Qcow2Compression::kNone, Qcow2Compression::kZlib}) {
    const std::vector<uint8_t> disk = sample_disk(5 * kMiB);
    const TestFile file;
    const auto output = make_qcow2_output(file.fd(), 0, compression, true);
    write_disk(*output, disk, with_threads(2), 65'536, true);
    const std::vector<uint8_t> content = file.content();
    // As it is written once more, with a bit changed in the header or behind it.
    for (const size_t at : {size_t{30}, size_t{65'536 + 5}, content.size() - 1}) {
      const TestFile other;
      const auto again = make_qcow2_output(other.fd(), 0, compression, true);
      DiskSink sink({}, Limits{}, *again);
      feed(sink, disk, 65'536, true);
      const uint8_t changed = content[at] ^ 1;
      ::fcntl(other.fd(), F_SETFL, ::fcntl(other.fd(), F_GETFL) & ~O_DIRECT);
      ASSERT_EQ(::pwrite(other.fd(), &changed, 1, static_cast<off_t>(at)), 1);
      EXPECT_EQ(code_of([&] { again->verify(disk.size(), ""); }), code::kDiskReadBack) << at;
    }
  }
}

TEST(Disk, IsCancelledFromAnotherThread) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const auto output = make_pipe_output(ends[1], 0);
  DiskSink sink({}, Limits{}, *output);
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    sink.cancel();
  });
  // Nobody reads the pipe.
  EXPECT_THROW(
      {
        sink.start({std::nullopt, true, "", true});
        for (int i = 0; i < 64; ++i) {
          for (size_t done = 0; done < kMiB;) {
            const MutableBytes room = sink.reserve(kMiB - done);
            std::fill(room.begin(), room.end(), uint8_t{1});
            sink.commit(room.size());
            done += room.size();
          }
        }
        sink.finish();
      },
      Error);
  stopper.join();
  sink.stop();
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace dvcr
