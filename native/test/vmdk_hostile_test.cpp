// VMDK images that no honest tool writes, or that need more than one file: each has its code.
#include <gtest/gtest.h>

#include <algorithm>

#include "support.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

constexpr size_t kGrain = 64 * kKiB;
constexpr size_t kFlags = 8;
constexpr size_t kCapacity = 12;
constexpr size_t kGrainSize = 20;
constexpr size_t kDescriptorOffset = 28;
constexpr size_t kDescriptorSize = 36;
constexpr size_t kTableSize = 44;
constexpr size_t kGdOffset = 56;

using Change = std::function<void(VmdkFile&)>;

std::vector<uint8_t> disk() {
  return noise(6 * kGrain + 9 * 512, 1);
}

std::string code_after(VmdkFile file, const Change& change) {
  change(file);
  std::string streamed = convert(file.bytes, {.chunk = 5000, .known_size = false}).code;
  // With the tables at hand beforehand another check may come first; what is accepted must be the same.
  EXPECT_EQ(convert(file.bytes, {.with_ranges = true}).code.empty(), streamed.empty());
  return streamed;
}
std::string sparse(const Change& change) {
  return code_after(make_sparse_vmdk(disk()), change);
}
std::string front(const Change& change) {
  return code_after(make_front_vmdk(disk()), change);
}
std::string stream(const Change& change) {
  return code_after(make_stream_vmdk(disk()), change);
}
Change set(size_t offset, unsigned width, uint64_t value) {
  return [=](VmdkFile& file) { put_le(file.bytes, offset, width, value); };
}

std::string embedded(const std::string& text) {
  return convert(make_sparse_vmdk(disk(), {.descriptor = text}).bytes).code;
}
std::string embedded_extent(const std::string& line) {
  return embedded(vmdk_descriptor("monolithicSparse", {line}));
}
std::string alone(const std::string& text) {
  return convert(std::vector<uint8_t>(text.begin(), text.end())).code;
}

TEST(VmdkHostile, DescriptorFilesAreRefusedByKind) {
  std::string flat = "RW 16 FLAT \"/etc/passwd\" 0";
  EXPECT_EQ(alone(vmdk_descriptor("monolithicFlat", {flat})), code::kExternalData);
  EXPECT_EQ(alone(vmdk_descriptor("vmfs", {"RW 16 VMFS \"disk-flat.vmdk\""})), code::kExternalData);
  EXPECT_EQ(alone(vmdk_descriptor("vmfsRDM", {"RW 16 VMFSRDM \"/dev/sda\""})), code::kExternalData);
  EXPECT_EQ(alone(vmdk_descriptor("fullDevice", {"RW 16 FLAT \"/dev/sda\" 0"})), code::kExternalData);
  EXPECT_EQ(alone(vmdk_descriptor("custom", {flat})), code::kExternalData);
  EXPECT_EQ(alone(vmdk_descriptor("monolithicSparse", {sparse_extent(16)})), code::kExternalData);
  EXPECT_EQ(alone(vmdk_descriptor("twoGbMaxExtentSparse", {sparse_extent(16)})), code::kMultiFile);
  EXPECT_EQ(alone(vmdk_descriptor("monolithicSparse", {sparse_extent(16)}, "00000001")), code::kBackingFile);
  EXPECT_EQ(alone("# Disk DescriptorFile\nversion=1\n"), code::kCorruptImage);
}

TEST(VmdkHostile, DescriptorWithADiskBehindItIsAmbiguous) {
  std::string text = vmdk_descriptor("monolithicFlat", {"RW 16 FLAT \"x\" 0"});
  text.resize(4096);
  EXPECT_EQ(alone(text), code::kExternalData);
  text[2048] = 1;
  EXPECT_EQ(alone(text), code::kAmbiguous);
  text[2048] = 0;
  text.resize(2 << 20);
  EXPECT_EQ(alone(text), code::kAmbiguous);
}

TEST(VmdkHostile, CapacityOfZeroIsRefusedByTheDescriptor) {
  auto zero = [](const std::string& text) {
    VmdkFile file = make_sparse_vmdk(disk(), {.descriptor = text});
    put_le(file.bytes, kCapacity, 8, 0);
    return convert(file.bytes).code;
  };
  EXPECT_EQ(zero(vmdk_descriptor("monolithicFlat", {"RW 16 FLAT \"x\" 0"})), code::kExternalData);
  EXPECT_EQ(zero("#createType?\"monolithicFlat\"\n" + vmdk_descriptor("monolithicSparse", {"RW 16 FLAT \"x\" 0"})),
            code::kExternalData);
  EXPECT_EQ(zero(vmdk_descriptor("twoGbMaxExtentFlat", {"RW 16 FLAT \"x\" 0"})), code::kMultiFile);
  EXPECT_EQ(zero(vmdk_descriptor("monolithicSparse", {sparse_extent(16)})), code::kExternalData);
  EXPECT_EQ(zero(vmdk_descriptor("monolithicSparse", {sparse_extent(0)})), code::kEmpty);
}

TEST(VmdkHostile, EmbeddedDescriptorMustFitTheHeader) {
  uint64_t sectors = disk().size() / 512;
  EXPECT_EQ(embedded_extent(sparse_extent(sectors)), "");
  EXPECT_EQ(embedded(vmdk_descriptor("streamOptimized", {sparse_extent(sectors)})), code::kCorruptImage);
  EXPECT_EQ(embedded(vmdk_descriptor("monolithicFlat", {sparse_extent(sectors)})), code::kExternalData);
  EXPECT_EQ(embedded(vmdk_descriptor("monolithicSparse", {})), code::kCorruptImage);
  EXPECT_EQ(embedded(vmdk_descriptor("monolithicSparse", {sparse_extent(8), sparse_extent(8)})), code::kMultiFile);
  EXPECT_EQ(embedded(vmdk_descriptor("monolithicSparse", {sparse_extent(sectors)}, "deadbeef")), code::kBackingFile);
  EXPECT_EQ(embedded_extent("RW 8 SPARSE \"/etc/passwd\""), code::kExternalData);
  EXPECT_EQ(embedded_extent("RW 8 SPARSE \"..\""), code::kExternalData);
  EXPECT_EQ(embedded_extent("RW 8 SPARSE \"C:\\disk.vmdk\""), code::kExternalData);
  EXPECT_EQ(embedded_extent("RW 8 FLAT \"disk-flat.vmdk\" 0"), code::kExternalData);
  EXPECT_EQ(embedded_extent("NOACCESS 8 SPARSE \"disk.vmdk\""), code::kCorruptImage);
  EXPECT_EQ(embedded_extent("RW 8 SPARSE \"d\xff.vmdk\""), code::kCorruptImage);
  EXPECT_EQ(embedded_extent(std::string("RW 8 SPARSE \"d\0k\"", 17)), code::kCorruptImage);
  EXPECT_EQ(embedded_extent("RW 8 SPARSE \"\xc3\xbc\\disk.vmdk\""), code::kExternalData);
  EXPECT_EQ(sparse(set(kDescriptorOffset, 8, 2)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kDescriptorSize, 8, 2049)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kDescriptorSize, 8, ~uint64_t{0})), code::kCorruptImage);
}

TEST(VmdkHostile, SliceOfASplitDiskIsRefused) {
  EXPECT_EQ(sparse([](VmdkFile& file) {
              put_le(file.bytes, kDescriptorOffset, 8, 0);
              put_le(file.bytes, kDescriptorSize, 8, 0);
            }),
            code::kMultiFile);
}

TEST(VmdkHostile, HeaderFieldsAreChecked) {
  EXPECT_EQ(sparse(set(4, 4, 0)), code::kUnsupportedFormat);
  EXPECT_EQ(sparse(set(4, 4, 4)), code::kUnsupportedFormat);
  for (uint64_t grain : {uint64_t{0}, uint64_t{1}, uint64_t{100}, uint64_t{8192}, ~uint64_t{0}, uint64_t{1} << 63}) {
    EXPECT_EQ(sparse(set(kGrainSize, 8, grain)), code::kCorruptImage) << grain;
  }
  EXPECT_EQ(sparse(set(kTableSize, 4, 0)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kTableSize, 4, 1024)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kCapacity, 8, ~uint64_t{0})), code::kTooLarge);
  EXPECT_EQ(sparse(set(kCapacity, 8, uint64_t{1} << 55)), code::kTooLarge);
  EXPECT_EQ(sparse(set(73, 4, 0x0a0a0a0a)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kFlags, 4, 0x40003)), code::kUnsupportedFeature);
  EXPECT_EQ(sparse(set(kFlags, 4, 0x10003)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(77, 2, 2)), code::kUnsupportedFeature);
  EXPECT_EQ(front(set(kFlags, 4, 0x10001)), code::kUnsupportedFeature);
  EXPECT_EQ(sparse(set(kGdOffset, 8, ~uint64_t{0})), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kGdOffset, 8, 0)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(kGdOffset, 8, uint64_t{1} << 60)), code::kCorruptImage);
  EXPECT_EQ(sparse(set(48, 8, uint64_t{1} << 60)), code::kCorruptImage);
  EXPECT_EQ(sparse([](VmdkFile& file) { file.bytes.resize(100); }), code::kTruncated);
  EXPECT_EQ(sparse([](VmdkFile& file) { file.bytes.resize(2000); }), code::kTruncated);
}

TEST(VmdkHostile, OtherVmwareFormatsAreNamed) {
  std::vector<uint8_t> cowd(2048);
  std::copy_n("COWD\1", 5, cowd.begin());
  EXPECT_EQ(convert(cowd).code, code::kUnsupportedFormat);
  std::vector<uint8_t> se_sparse(4096);
  put_le(se_sparse, 0, 8, 0xcafebabe);
  EXPECT_EQ(convert(se_sparse).code, code::kUnsupportedFormat);
}

TEST(VmdkHostile, LargeCapacityWithoutTablesAllocatesNothing) {
  EXPECT_EQ(sparse(set(kCapacity, 8, 64 * kTiB / 512)), code::kTruncated);
  VmdkFile tiny_grains = make_sparse_vmdk(disk(), {.grain_sectors = 8});
  put_le(tiny_grains.bytes, kCapacity, 8, 64 * kTiB / 512);
  EXPECT_EQ(convert(tiny_grains.bytes, {.limits = {.max_metadata = 64 * kMiB}}).code, code::kMetadataLimit);
}

TEST(VmdkHostile, TablesAndGrainsMustNotShareAPlace) {
  auto entry = [](size_t index, uint64_t sector) {
    return [=](VmdkFile& file) { put_le(file.bytes, file.tables[0] + index * 4, 4, sector); };
  };
  auto sector_of = [](size_t offset) { return offset / 512; };
  VmdkFile plain = make_sparse_vmdk(disk());
  VmdkFile packed = make_front_vmdk(disk());
  // Data: a grain named twice, one that overlaps with its neighbour, one beyond the end.
  EXPECT_EQ(sparse(entry(3, sector_of(plain.grains[0]))), code::kAlias);
  EXPECT_EQ(sparse(entry(3, sector_of(plain.grains[0]) + 1)), code::kAlias);
  EXPECT_EQ(sparse(entry(3, 0xfffffff0)), code::kTruncated);
  EXPECT_EQ(front(entry(3, sector_of(packed.grains[0]))), code::kAlias);
  EXPECT_EQ(front(entry(3, 0xfffffff0)), code::kTruncated);
  // Within metadata: header, descriptor, directory, table, redundant table.
  for (uint64_t sector : {uint64_t{1}, uint64_t{20}, uint64_t{21}, uint64_t{22}, sector_of(plain.directory),
                          sector_of(plain.tables[0]) + 3}) {
    EXPECT_EQ(sparse(entry(0, sector)), code::kOverlap) << sector;
  }
  EXPECT_EQ(front(entry(0, 1)), code::kOverlap);
  EXPECT_EQ(front(entry(0, sector_of(packed.tables[0]))), code::kOverlap);
}

TEST(VmdkHostile, TablesMustNotShareAPlaceWithEachOther) {
  auto make = [](const Change& change) {
    return code_after(make_sparse_vmdk(noise(5 * kMiB, 2), {.grain_sectors = 8}), change);
  };
  EXPECT_EQ(make([](VmdkFile& file) { put_le(file.bytes, file.directory + 4, 4, file.tables[0] / 512); }),
            code::kAlias);
  EXPECT_EQ(make([](VmdkFile& file) { put_le(file.bytes, file.directory + 4, 4, file.tables[0] / 512 + 1); }),
            code::kOverlap);
  EXPECT_EQ(make([](VmdkFile& file) { put_le(file.bytes, file.directory, 4, 1); }), code::kAlias);
  EXPECT_EQ(make([](VmdkFile& file) { put_le(file.bytes, file.directory, 4, file.directory / 512); }), code::kAlias);
  EXPECT_EQ(make([](VmdkFile& file) { put_le(file.bytes, file.directory + 4, 4, file.grains[0] / 512); }),
            code::kOverlap);
  EXPECT_EQ(make([](VmdkFile& file) { put_le(file.bytes, file.directory, 4, 0xfffffff0); }), code::kTruncated);
  EXPECT_EQ(make(set(kGdOffset, 8, 0xfffffff0)), code::kTruncated);
}

TEST(VmdkHostile, PackedGrainsMustNotOverlap) {
  // A grain of noise is longer than its place after one sector more is claimed for it: it reaches into the next.
  EXPECT_EQ(
      front([](VmdkFile& file) { put_le(file.bytes, file.grains[2] + 8, 4, file.grains[3] - file.grains[2] + 100); }),
      code::kAlias);
}

TEST(VmdkHostile, GrainMarkersAreChecked) {
  for (auto* make : {&front, &stream}) {
    EXPECT_EQ((*make)([](VmdkFile& file) { put_le(file.bytes, file.grains[1], 8, 127); }), code::kCorruptImage);
    EXPECT_EQ((*make)([](VmdkFile& file) { put_le(file.bytes, file.grains[1], 8, 1 << 20); }), code::kCorruptImage);
    EXPECT_EQ((*make)([](VmdkFile& file) { put_le(file.bytes, file.grains[1], 8, ~uint64_t{127}); }),
              code::kCorruptImage);
    EXPECT_EQ((*make)([](VmdkFile& file) { put_le(file.bytes, file.grains[1] + 8, 4, 0); }), code::kCorruptImage);
    EXPECT_EQ((*make)([](VmdkFile& file) { put_le(file.bytes, file.grains[1] + 8, 4, 2 * kGrain + 1); }),
              code::kCorruptImage);
    EXPECT_EQ((*make)([](VmdkFile& file) { put_le(file.bytes, file.grains[1] + 8, 4, 0xffffffff); }),
              code::kCorruptImage);
  }
  EXPECT_EQ(front([](VmdkFile& file) { put_le(file.bytes, file.grains[1], 8, 0); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.grains[1], 8, 0); }), code::kAlias);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.grains[3], 8, 128); }), code::kOutOfOrder);
}

TEST(VmdkHostile, DamagedGrainsAreRefused) {
  for (auto* make : {&front, &stream}) {
    EXPECT_EQ((*make)([](VmdkFile& file) { file.bytes[file.grains[1] + 5000] ^= 1; }), code::kCorruptCluster);
    // A shorter size cuts the stream off before its checksum.
    EXPECT_EQ((*make)([](VmdkFile& file) {
                put_le(file.bytes, file.grains[1] + 8, 4, le32(file.bytes, file.grains[1] + 8) - 1);
              }),
              code::kCorruptCluster);
  }
  // Grains that unpack to more or to less than a grain.
  for (uint64_t grain : {64u, 256u}) {
    VmdkFile other = make_front_vmdk(disk(), {.grain_sectors = grain});
    EXPECT_NE(code_after(other, set(kGrainSize, 8, 128)), "") << grain;
  }
  VmdkFile half = make_front_vmdk(disk(), {.grain_sectors = 64});
  put_le(half.bytes, kGrainSize, 8, 128);
  put_le(half.bytes, half.grains[1], 8, 128);
  EXPECT_EQ(convert(half.bytes).code, code::kCorruptCluster);
}

TEST(VmdkHostile, StreamMustEndWithFooterAndEndMarker) {
  auto cut = [](size_t VmdkFile::*place) { return stream([=](VmdkFile& file) { file.bytes.resize(file.*place); }); };
  EXPECT_EQ(cut(&VmdkFile::end), code::kTruncated);
  EXPECT_EQ(cut(&VmdkFile::footer), code::kTruncated);
  EXPECT_EQ(cut(&VmdkFile::directory), code::kTruncated);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes.resize(file.grains[4] + 700); }), code::kTruncated);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes.resize(file.end + 511); }), code::kTruncated);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes.push_back(0); }), code::kTrailingData);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes.resize(file.bytes.size() + 512); }), code::kTrailingData);
  EXPECT_EQ(stream([](VmdkFile& file) {
              file.bytes.erase(file.bytes.begin() + static_cast<std::ptrdiff_t>(file.footer) - 512,
                               file.bytes.begin() + static_cast<std::ptrdiff_t>(file.end));
            }),
            code::kTruncated)
      << "zeros without a footer are padding";
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.end, 8, 1); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes[file.end + 100] = 1; }), code::kCorruptImage);
}

TEST(VmdkHostile, FooterMustAgreeWithTheHeader) {
  auto in_footer = [](size_t field, unsigned width, uint64_t value) {
    return stream([=](VmdkFile& file) { put_le(file.bytes, file.footer + field, width, value); });
  };
  EXPECT_EQ(in_footer(0, 1, 'X'), code::kCorruptImage);
  EXPECT_EQ(in_footer(4, 4, 3), code::kCorruptImage);
  EXPECT_EQ(in_footer(kFlags, 4, 0x30005), code::kCorruptImage);
  EXPECT_EQ(in_footer(kCapacity, 8, 100), code::kCorruptImage);
  EXPECT_EQ(in_footer(kGrainSize, 8, 64), code::kCorruptImage);
  EXPECT_EQ(in_footer(kDescriptorOffset, 8, 2), code::kCorruptImage);
  EXPECT_EQ(in_footer(kDescriptorSize, 8, 3), code::kCorruptImage);
  EXPECT_EQ(in_footer(kGdOffset, 8, ~uint64_t{0}), code::kCorruptImage);
  EXPECT_EQ(in_footer(kGdOffset, 8, 130), code::kCorruptImage);
}

TEST(VmdkHostile, BothSetsOfTablesMustAgreeWithTheGrains) {
  auto orchestra = [](const Change& change) { return code_after(make_orchestra_vmdk(disk(), 3, true), change); };
  EXPECT_EQ(orchestra([](VmdkFile&) {}), "");
  EXPECT_EQ(orchestra([](VmdkFile& file) { file.bytes[file.tables[0]] ^= 1; }), code::kCorruptImage);
  const size_t set = 512 + 2048 + 512 + 512;
  EXPECT_EQ(orchestra([](VmdkFile& file) { file.bytes[file.tables[0] - set] ^= 1; }), code::kCorruptImage);
  EXPECT_EQ(orchestra([](VmdkFile& file) { file.bytes[file.directory] ^= 1; }), code::kCorruptImage);
  EXPECT_EQ(orchestra([](VmdkFile& file) { file.bytes[file.directory - set] ^= 1; }), code::kCorruptImage);
  EXPECT_EQ(orchestra([](VmdkFile& file) { put_le(file.bytes, file.footer + 48, 8, 30); }), code::kCorruptImage);
  EXPECT_EQ(orchestra([](VmdkFile& file) {
              // A third set.
              const std::vector<uint8_t> more(file.bytes.begin() + static_cast<std::ptrdiff_t>(file.tables[0]) - 512,
                                              file.bytes.begin() + static_cast<std::ptrdiff_t>(file.footer) - 512);
              file.bytes.insert(file.bytes.begin() + static_cast<std::ptrdiff_t>(file.footer) - 512, more.begin(),
                                more.end());
            }),
            code::kCorruptImage);
}

TEST(VmdkHostile, ASliceOfQemuImgIsOneOfSeveralFiles) {
  TempDir directory;
  run({"qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", directory.path("disk.vmdk"),
       "4M"});
  const Converted slice = convert(read_file(directory.path("disk-s001.vmdk")));
  EXPECT_EQ(slice.code, code::kMultiFile) << slice.message;
  EXPECT_EQ(convert(read_file(directory.path("disk.vmdk"))).code, code::kMultiFile);
}

TEST(VmdkHostile, TablesBehindTheDataMustAgreeWithTheGrains) {
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes[file.tables[0]] ^= 1; }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.tables[0] + 100 * 4, 4, 128); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes[file.directory] ^= 1; }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes[file.directory + 4] = 1; }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.tables[0] - 512, 8, 3); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.directory - 512, 8, 1000); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.footer - 512, 8, 2); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, file.tables[0] - 500, 4, 9); }), code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { file.bytes[file.tables[0] - 400] = 1; }), code::kCorruptImage);
  // A table is missing altogether, and grains after the directory.
  EXPECT_EQ(stream([](VmdkFile& file) {
              file.bytes.erase(file.bytes.begin() + static_cast<std::ptrdiff_t>(file.tables[0]) - 512,
                               file.bytes.begin() + static_cast<std::ptrdiff_t>(file.tables[0]) + 2048);
            }),
            code::kCorruptImage);
  EXPECT_EQ(stream([](VmdkFile& file) { put_le(file.bytes, 64, 8, 3); }), code::kOverlap);
}

}  // namespace
}  // namespace dvcr::test
