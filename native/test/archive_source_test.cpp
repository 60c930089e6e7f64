// Disks in OVA and tar, made with tar itself.
#include "archive_lab.h"
#include "disk_image.h"
#include "tar_reader.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

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
  ArchiveSource archive(source, {});
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
}

TEST(Archive, WhatGnuTarIgnoresBehindTheEndIsCounted) {
  Workshop shop;
  const std::vector<uint8_t> disk = small_disk();
  shop.add("one.img", disk);
  const std::vector<uint8_t> tar = shop.tar({"one.img"});
  for (size_t junk : {size_t{1}, size_t{511}, size_t{512}, size_t{5000}}) {
    for (size_t zeros : {size_t{0}, size_t{700}, size_t{9} << 20}) {
      std::vector<uint8_t> longer = tar;
      longer.resize(longer.size() + zeros);
      longer.resize(longer.size() + junk, 0xab);
      write_file(shop.path("longer.tar"), longer);
      run({"tar", "-tf", shop.path("longer.tar")});
      for (size_t chunk : {size_t{0}, size_t{1000}}) {
        const Taken taken = take(longer, chunk);
        ASSERT_EQ(taken.code, "") << taken.message;
        EXPECT_TRUE(taken.bytes == disk);
        EXPECT_GE(taken.trailing, junk);
        EXPECT_LE(taken.trailing, junk + 512);
        EXPECT_EQ(take(longer, chunk, kAlways).code, "");
      }
    }
  }
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

std::vector<uint8_t> disk_with_holes() {
  std::vector<uint8_t> disk(3 << 20);
  const std::vector<uint8_t> data = noise(70'000, 1);
  std::copy(data.begin(), data.end(), disk.begin() + 400 * 1024);
  disk[510] = 0x55;
  disk[511] = 0xaa;
  disk[(2 << 20) + 5] = 1;
  return disk;
}

// GCP asks for `tar --format=oldgnu -S`; the others are what tar writes else.
TEST(Archive, SparseMembersAreReadWithTheirHoles) {
  Workshop shop;
  const std::vector<uint8_t> disk = disk_with_holes();
  shop.add("full", disk);
  run({"cp", "--sparse=always", shop.path("full"), shop.path("disk.raw")});
  shop.add("a.txt", "hello");
  struct Dialect {
    const char* format;
    std::vector<std::string> options;
  };
  for (const Dialect& dialect : std::vector<Dialect>{{"oldgnu", {"-S"}},
                                                     {"gnu", {"-S"}},
                                                     {"posix", {"-S", "--sparse-version=0.0"}},
                                                     {"posix", {"-S", "--sparse-version=0.1"}},
                                                     {"posix", {"-S", "--sparse-version=1.0"}}}) {
    const std::vector<uint8_t> tar = shop.tar({"a.txt", "disk.raw"}, dialect.format, dialect.options);
    ASSERT_LT(tar.size(), disk.size() / 2) << dialect.format;
    for (size_t chunk : {size_t{0}, size_t{777}}) {
      for (unsigned answers : {0u, kAlways}) {
        const Taken taken = take(tar, chunk, answers);
        ASSERT_EQ(taken.code, "") << dialect.format << " " << taken.message;
        EXPECT_EQ(taken.size, disk.size());
        EXPECT_TRUE(taken.bytes == disk) << dialect.format;
      }
    }
  }
}

// A disk format reads by range what stands far ahead, so ranges must not show the map of a sparse member.
TEST(Archive, SparseMembersHaveNoRanges) {
  Workshop shop;
  std::vector<uint8_t> image = make_sparse_vmdk(small_disk()).bytes;
  image.resize(image.size() + (1 << 20));
  image.push_back(1);
  shop.add("full", image);
  run({"cp", "--sparse=always", shop.path("full"), shop.path("disk.vmdk")});
  for (const char* version : {"0.0", "0.1", "1.0"}) {
    const std::vector<uint8_t> tar =
        shop.tar({"disk.vmdk"}, "posix", {"-S", std::string("--sparse-version=") + version});
    ASSERT_LT(tar.size(), image.size());
    Origin origin(tar, 0, kAlways);
    PrefixSource source(origin);
    ArchiveSource archive(source, {});
    archive.open();
    EXPECT_EQ(archive.ranges(), nullptr) << version;
  }
}

TEST(Archive, AMemberOfHolesAloneIsADiskOfZeros) {
  Workshop shop;
  shop.add("disk.img", std::vector<uint8_t>());
  run({"truncate", "-s", "1M", shop.path("disk.img")});
  for (const char* format : {"gnu", "posix"}) {
    const Taken taken = take(shop.tar({"disk.img"}, format, {"--sparse"}));
    EXPECT_EQ(taken.code, "") << taken.message;
    EXPECT_TRUE(taken.bytes == std::vector<uint8_t>(1 << 20)) << format;
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
    EXPECT_EQ(take(damaged, 0, answers).code, code::kCorruptArchive);
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
