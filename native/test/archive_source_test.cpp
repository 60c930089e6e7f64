// Disks in OVA and tar, made with tar itself.
#include "archive_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "disk_image.h"
#include "support.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

std::vector<uint8_t> small_disk() {
  return make_disk(300 * 1024 + 512, 5);
}

class Workshop {
 public:
  /// Adds a file to the directory that tar packs.
  std::string add(const std::string& name, Bytes bytes) {
    write_file(dir_.path(name), bytes);
    return name;
  }
  std::string add(const std::string& name, std::string_view text) {
    return add(name, Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  std::vector<uint8_t> tar(const std::vector<std::string>& names, const std::string& format = "ustar",
                           const std::vector<std::string>& options = {}) {
    std::vector<std::string> command{"tar", "-C", dir_.path("."), "--format=" + format, "-cf", dir_.path("out.tar")};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), names.begin(), names.end());
    run(command);
    return read_file(dir_.path("out.tar"));
  }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path(name); }

 private:
  TempDir dir_;
};

struct Taken {
  std::vector<uint8_t> bytes;
  std::string member;
  uint64_t size = 0;
  std::string code;
  std::string message;
  bool refused_early = false;  ///< before any byte of the disk was given
};

/// As a web server: a range of no bytes cannot be asked for (RFC 9110, 14.1.1) and would be refused.
class Ranges final : public RangeReader {
 public:
  Ranges(Bytes bytes, unsigned answers) : bytes_(bytes), left_(answers) {}
  [[nodiscard]] bool are_gone() const { return left_ == 0; }
  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    if (out.empty()) throw Error(code::kSourceIo, "an empty range was asked for");
    if (left_ == 0) return false;
    --left_;
    Bytes from = slice(bytes_, offset, out.size());
    std::copy(from.begin(), from.end(), out.begin());
    return true;
  }
  Bytes bytes_;
  unsigned left_;  // answers until there are none any more
};

struct Origin final : ByteSource {
  Origin(Bytes bytes, size_t chunk, unsigned answers) : stream(bytes, chunk), file(bytes, answers) {}
  Bytes peek() override { return stream.peek(); }
  void consume(size_t count) override { stream.consume(count); }
  RangeReader* ranges() override { return file.are_gone() ? nullptr : &file; }
  MemorySource stream;
  Ranges file;
};

constexpr unsigned kAlways = std::numeric_limits<unsigned>::max();

/// `answers`: so many ranges are read before the origin offers none any more.
Taken take(Bytes tar, size_t chunk = 0, unsigned answers = 0) {
  Origin origin(tar, chunk, answers);
  PrefixSource source(origin);
  source.prefix(512);
  ArchiveSource archive(source);
  Taken taken;
  taken.refused_early = true;
  try {
    archive.open();
    taken.refused_early = false;
    taken.member = archive.member();
    taken.size = archive.size().value_or(0);
    for (Bytes part = archive.peek(); !part.empty(); part = archive.peek()) {
      taken.bytes.insert(taken.bytes.end(), part.begin(), part.end());
      archive.consume(part.size());
    }
    archive.finish();
  } catch (const Error& error) {
    taken.code = error.code();
    taken.message = error.what();
  }
  return taken;
}

bool mentions(const Taken& taken, std::string_view text) {
  return taken.message.find(text) != std::string::npos;
}

TEST(Archive, OvaGivesItsOneDiskInAnyChunking) {
  Workshop shop;
  std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  shop.add("vm.ovf", "<?xml version=\"1.0\"?><Envelope/>\n");
  shop.add("vm.mf", "SHA256(vm.ovf)= 00\n");
  shop.add("vm-disk1.vmdk", disk);
  shop.add("vm.nvram", noise(70000, 3));
  std::vector<uint8_t> ova = shop.tar({"vm.ovf", "vm.mf", "vm-disk1.vmdk", "vm.nvram"});
  EXPECT_TRUE(is_tar(ova));
  for (size_t chunk : {size_t{0}, size_t{1}, size_t{511}, size_t{512}, size_t{10'000}}) {
    for (unsigned answers : {0u, 1u, 2u, kAlways}) {
      Taken taken = take(ova, chunk, answers);
      ASSERT_EQ(taken.code, "") << taken.message;
      EXPECT_EQ(taken.member, "vm-disk1.vmdk");
      EXPECT_EQ(taken.size, disk.size());
      EXPECT_TRUE(taken.bytes == disk);
    }
  }
}

TEST(Archive, EveryTarDialectIsRead) {
  Workshop shop;
  std::vector<uint8_t> disk = small_disk();
  std::string longer = std::string(120, 'd') + ".img";
  for (const char* format : {"v7", "ustar", "gnu", "oldgnu", "posix"}) {
    bool short_only = std::string(format) == "v7" || std::string(format) == "ustar";
    std::string name = short_only ? "disk.IMG" : longer;
    shop.add(name, disk);
    shop.add("readme.txt", "hello");
    std::vector<uint8_t> tar = shop.tar({"readme.txt", name}, format);
    EXPECT_TRUE(is_tar(tar)) << format;
    Taken taken = take(tar, 1000);
    ASSERT_EQ(taken.code, "") << format << " " << taken.message;
    EXPECT_EQ(taken.member, name);
    EXPECT_TRUE(taken.bytes == disk) << format;
  }
}

TEST(Archive, RangesOfTheMemberAreThoseOfTheDisk) {
  Workshop shop;
  std::vector<uint8_t> disk = small_disk();
  shop.add("disk.raw", disk);
  shop.add("notes.txt", std::string(3000, 'n'));
  std::vector<uint8_t> tar = shop.tar({"notes.txt", "disk.raw"}, "posix");
  Origin origin(tar, 0, kAlways);
  PrefixSource source(origin);
  ArchiveSource archive(source);
  archive.open();
  ASSERT_NE(archive.ranges(), nullptr);
  EXPECT_EQ(archive.ranges()->size(), disk.size());
  std::vector<uint8_t> part(5000);
  EXPECT_TRUE(archive.ranges()->read_at(disk.size() - part.size(), part));
  EXPECT_TRUE(std::equal(part.begin(), part.end(), disk.end() - static_cast<std::ptrdiff_t>(part.size())));
  EXPECT_EQ(caught([&] { static_cast<void>(archive.ranges()->read_at(disk.size() - 1, part)); }).code,
            code::kTruncated);
}

TEST(Archive, DiskIsKnownByContentWhateverItsName) {
  Workshop shop;
  shop.add("appliance", make_sparse_vmdk(small_disk()).bytes);
  EXPECT_EQ(take(shop.tar({"appliance"})).member, "appliance");
  shop.add("plain", small_disk());
  EXPECT_EQ(take(shop.tar({"plain"})).code, code::kNoDisk);
  shop.add("data.ovf", make_sparse_vmdk(small_disk()).bytes);
  EXPECT_EQ(take(shop.tar({"data.ovf"})).code, code::kNoDisk);
}

TEST(Archive, CompressedDiskCountsAsADisk) {
  Workshop shop;
  shop.add("disk.img", small_disk());
  run({"gzip", "-k", shop.path("disk.img")});
  shop.add("log.txt.gz", read_file(shop.path("disk.img.gz")));
  Taken taken = take(shop.tar({"log.txt.gz", "disk.img.gz"}));
  ASSERT_EQ(taken.code, "") << taken.message;
  EXPECT_TRUE(taken.bytes == read_file(shop.path("disk.img.gz")));
}

TEST(Archive, SeveralDisksAreRefusedByName) {
  Workshop shop;
  shop.add("one.vmdk", make_stream_vmdk(small_disk()).bytes);
  shop.add("two.vmdk", make_stream_vmdk(small_disk()).bytes);
  std::vector<uint8_t> tar = shop.tar({"one.vmdk", "two.vmdk"});
  for (unsigned answers : {0u, kAlways}) {
    Taken taken = take(tar, 0, answers);
    EXPECT_EQ(taken.code, code::kSeveralDisks);
    EXPECT_TRUE(mentions(taken, "one.vmdk, two.vmdk")) << taken.message;
    EXPECT_EQ(taken.refused_early, answers == kAlways);
  }
}

TEST(Archive, DiskBehindTheEndOfTheTarIsSeen) {
  Workshop shop;
  shop.add("one.img", small_disk());
  shop.add("two.img", small_disk());
  std::vector<uint8_t> both = shop.tar({"one.img"});
  std::vector<uint8_t> second = shop.tar({"two.img"});
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(take(both).code, code::kSeveralDisks);
  std::vector<uint8_t> padded = shop.tar({"one.img"});
  padded.resize(padded.size() + 100 * 512);
  EXPECT_EQ(take(padded).code, "");
  padded.resize(padded.size() + 512, 0xab);
  EXPECT_EQ(take(padded).code, code::kCorruptImage);
}

TEST(Archive, WithoutADiskSaysWhatItHolds) {
  Workshop shop;
  shop.add("vm.ovf", "<Envelope/>");
  shop.add("empty.img", "");
  run({"ln", "-s", "/etc/passwd", shop.path("link.img")});
  Taken taken = take(shop.tar({"vm.ovf", "empty.img", "link.img"}));
  EXPECT_EQ(taken.code, code::kNoDisk);
  EXPECT_TRUE(mentions(taken, "vm.ovf, empty.img, link.img")) << taken.message;
  EXPECT_EQ(take(std::vector<uint8_t>(10240)).code, code::kNoDisk);
}

TEST(Archive, DiskInChunksIsRefused) {
  Workshop shop;
  shop.add("disk.vmdk.000000000", small_disk());
  EXPECT_EQ(take(shop.tar({"disk.vmdk.000000000"})).code, code::kMultiFile);
}

TEST(Archive, SparseMemberIsRefused) {
  Workshop shop;
  std::vector<uint8_t> disk(1 << 20);
  std::vector<uint8_t> data = noise(4096, 1);
  shop.add("disk.img", disk);
  run({"truncate", "-s", "0", shop.path("disk.img")});
  run({"truncate", "-s", "1M", shop.path("disk.img")});
  shop.add("data", data);
  run({"dd", "if=" + shop.path("data"), "of=" + shop.path("disk.img"), "bs=4k", "seek=100", "conv=notrunc",
       "status=none"});
  for (const char* format : {"gnu", "posix"}) {
    EXPECT_EQ(take(shop.tar({"disk.img"}, format, {"--sparse"})).code, code::kUnsupportedFeature) << format;
  }
}

// Found by fuzzing: nothing of the member is stored, so that no piece shows that it is sparse.
TEST(Archive, AMemberOfHolesAloneIsNotAnEmptyDisk) {
  Workshop shop;
  shop.add("disk.img", std::vector<uint8_t>());
  run({"truncate", "-s", "1M", shop.path("disk.img")});
  for (const char* format : {"gnu", "posix"}) {
    EXPECT_EQ(take(shop.tar({"disk.img"}, format, {"--sparse"})).code, code::kUnsupportedFeature) << format;
  }
}

TEST(Archive, DamageAndEarlyEndsAreErrors) {
  Workshop shop;
  shop.add("a.txt", "hello");
  shop.add("disk.img", small_disk());
  std::vector<uint8_t> tar = shop.tar({"a.txt", "disk.img"});
  for (unsigned answers : {0u, kAlways}) {
    std::vector<uint8_t> cut(tar.begin(), tar.begin() + 100'000);
    EXPECT_EQ(take(cut, 0, answers).code, code::kTruncated);
    std::vector<uint8_t> damaged = tar;
    damaged[1024 + 3] ^= 1;
    EXPECT_EQ(take(damaged, 0, answers).code, code::kCorruptImage);
  }
}

TEST(Archive, TooManyMembersAreRefused) {
  Workshop shop;
  shop.add("a.txt", "");
  std::vector<uint8_t> header = shop.tar({"a.txt"});
  header.resize(512);
  std::vector<uint8_t> tar;
  for (int i = 0; i < 4097; ++i) tar.insert(tar.end(), header.begin(), header.end());
  tar.resize(tar.size() + 1024);
  EXPECT_EQ(take(tar).code, code::kMetadataLimit);
}

TEST(Archive, OnlyATarIsTakenForATar) {
  Workshop shop;
  shop.add("a.txt", "hello");
  std::vector<uint8_t> old = shop.tar({"a.txt"}, "v7");
  EXPECT_TRUE(is_tar(old));
  old[0] ^= 1;
  EXPECT_FALSE(is_tar(old));
  EXPECT_FALSE(is_tar(std::vector<uint8_t>(512)));
  EXPECT_FALSE(is_tar(make_sparse_vmdk(small_disk()).bytes));
  EXPECT_FALSE(is_tar(small_disk()));
  EXPECT_FALSE(is_tar({}));
}

TEST(Archive, NamesAreMadePrintable) {
  Workshop shop;
  shop.add("evil\x1b[2J.img", small_disk());
  EXPECT_EQ(take(shop.tar({"evil\x1b[2J.img"})).member, "evil?[2J.img");
}

}  // namespace
}  // namespace dvcr::test
