// Damaged and hostile qcow2 images: honest ones by qemu-img with single fields changed. Each is refused with its own
// code, the same whether the length is known, and whether the origin has random access.
#include <gtest/gtest.h>
#include <libdeflate.h>

#include <map>
#include <ostream>

#include "support.h"

namespace dvcr::test {
namespace {

using Image = std::vector<uint8_t>;

struct Made {
  std::string options;
  bool compressed;
};

constexpr size_t kCluster = 4096;

/// A disk of noise of 40 clusters and a hole behind it.
Image make_image(const Made& made) {
  TempDir directory;
  std::vector<uint8_t> disk = made.compressed ? make_disk(60 * kCluster, 4) : noise(40 * kCluster, 3);
  disk.resize(64 * kCluster);
  write_file(directory.path("raw"), disk);
  std::vector<std::string> command{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", made.options};
  if (made.compressed) command.emplace_back("-c");
  command.insert(command.end(), {directory.path("raw"), directory.path("qcow2")});
  run(command);
  return read_file(directory.path("qcow2"));
}

const Image& cached_image(const Made& made) {
  static std::map<std::pair<std::string, bool>, Image> images;
  Image& image = images[{made.options, made.compressed}];
  if (image.empty()) image = make_image(made);
  return image;
}

size_t l1_of(const Image& image) {
  return be64(image, 40);
}
size_t l2_of(const Image& image) {
  return be64(image, l1_of(image)) & 0x00fffffffffffe00;
}
/// The place of a guest cluster's entry.
size_t entry_of(const Image& image, size_t cluster) {
  return l2_of(image) + cluster * 8;
}
void set64(Image& image, size_t offset, uint64_t value) {
  put_be(image, offset, 8, value);
}
void set32(Image& image, size_t offset, uint64_t value) {
  put_be(image, offset, 4, value);
}

/// Puts a header extension before the others.
void insert_extension(Image& image, uint32_t type, uint32_t length, const std::string& payload) {
  size_t start = be32(image, 4) == 3 ? be32(image, 100) : 72;
  std::fill(image.begin() + static_cast<std::ptrdiff_t>(start), image.begin() + 1024, uint8_t{0});
  set32(image, start, type);
  set32(image, start + 4, length);
  std::copy(payload.begin(), payload.end(), image.begin() + static_cast<std::ptrdiff_t>(start + 8));
}

const Made kPlain{"cluster_size=4k", false};
const Made kOld{"cluster_size=4k,compat=0.10", false};
const Made kPacked{"cluster_size=4k", true};
const Made kZstd{"cluster_size=4k,compression_type=zstd", true};
const Made kSub{"cluster_size=16k,extended_l2=on", false};

struct Hostile {
  const char* name;
  Made made;
  std::function<void(Image&)> change;
  std::string_view code;
};

std::ostream& operator<<(std::ostream& out, const Hostile& hostile) {
  return out << hostile.name;
}

class Refused : public testing::TestWithParam<Hostile> {};

TEST_P(Refused, WithItsOwnCode) {
  Image image = cached_image(GetParam().made);
  ASSERT_EQ(convert(image).code, "") << "the image before the change";
  GetParam().change(image);
  for (bool known : {true, false}) {
    for (bool ranges : {true, false}) {
      ConvertOptions options;
      options.chunk = 1000;
      options.known_size = known;
      options.with_ranges = ranges;
      options.lag = known ? 0 : 100;
      Converted result = convert(image, options);
      EXPECT_EQ(result.code, GetParam().code) << result.message << " known " << known << " ranges " << ranges;
      EXPECT_EQ(result.message.find('\n'), std::string::npos);
    }
  }
}

const std::vector<Hostile>& header_cases() {
  static const std::vector<Hostile> cases{
      {"BackingFile", kPlain, [](Image& i) { set64(i, 8, 1000); }, code::kBackingFile},
      {"BackingFileInVersion2", kOld, [](Image& i) { set64(i, 8, 1000); }, code::kBackingFile},
      {"BackingFormatAlone", kPlain, [](Image& i) { insert_extension(i, 0xe2792aca, 5, "qcow2"); }, code::kBackingFile},
      {"ExternalData", kPlain, [](Image& i) { set64(i, 72, 4); }, code::kExternalData},
      {"ExternalDataName", kPlain, [](Image& i) { insert_extension(i, 0x44415441, 11, "/etc/passwd"); },
       code::kExternalData},
      {"RawExternalDataBitAlone", kPlain, [](Image& i) { set64(i, 88, 2); }, code::kExternalData},
      {"UnknownFeature", kPlain, [](Image& i) { set64(i, 72, uint64_t{1} << 5); }, code::kUnsupportedFeature},
      {"UnknownHighFeature", kPlain, [](Image& i) { set64(i, 72, uint64_t{1} << 63); }, code::kUnsupportedFeature},
      {"CorruptBit", kPlain, [](Image& i) { set64(i, 72, 2); }, code::kCorruptImage},
      {"Aes", kPlain, [](Image& i) { set32(i, 32, 1); }, code::kEncrypted},
      {"Luks", kPlain, [](Image& i) { set32(i, 32, 2); }, code::kEncrypted},
      {"LuksExtension", kPlain, [](Image& i) { insert_extension(i, 0x0537be77, 16, ""); }, code::kEncrypted},
      {"Version0", kPlain, [](Image& i) { set32(i, 4, 0); }, code::kUnsupportedFormat},
      {"Version1", kPlain, [](Image& i) { set32(i, 4, 1); }, code::kUnsupportedFormat},
      {"Version4", kPlain, [](Image& i) { set32(i, 4, 4); }, code::kUnsupportedFormat},
      {"ClusterTooSmall", kPlain, [](Image& i) { set32(i, 20, 8); }, code::kCorruptImage},
      {"ClusterTooLarge", kPlain, [](Image& i) { set32(i, 20, 22); }, code::kCorruptImage},
      {"ClusterShiftOverflow", kPlain, [](Image& i) { set32(i, 20, 76); }, code::kCorruptImage},
      {"SmallSubclusters", kPlain, [](Image& i) { set64(i, 72, 16); }, code::kCorruptImage},
      {"HeaderTooShort", kPlain, [](Image& i) { set32(i, 100, 96); }, code::kCorruptImage},
      {"HeaderTooLong", kPlain, [](Image& i) { set32(i, 100, kCluster + 8); }, code::kCorruptImage},
      {"HeaderNotAligned", kPlain, [](Image& i) { set32(i, 100, 108); }, code::kCorruptImage},
      {"CompressionTypeUnknown", kZstd, [](Image& i) { i[104] = 7; }, code::kUnsupportedFeature},
      {"CompressionBitWithoutType", kZstd, [](Image& i) { i[104] = 0; }, code::kCorruptImage},
      {"CompressionTypeWithoutBit", kPlain, [](Image& i) { i[104] = 1; }, code::kCorruptImage},
      {"CompressionBitInShortHeader", kZstd, [](Image& i) { set32(i, 100, 104); }, code::kCorruptImage},
      {"EmptyDisk", kPlain, [](Image& i) { set64(i, 24, 0); }, code::kEmpty},
      {"HugeDisk", kPlain, [](Image& i) { set64(i, 24, uint64_t{1} << 62); }, code::kTooLarge},
      {"DiskOfAllBits", kPlain, [](Image& i) { set64(i, 24, UINT64_MAX); }, code::kTooLarge},
      {"PartialSector", kPlain, [](Image& i) { set64(i, 24, 64 * kCluster - 1); }, code::kCorruptImage},
      {"L1TooSmall", kPlain, [](Image& i) { set32(i, 36, 0); }, code::kCorruptImage},
      {"L1TooSmallForTheDisk", kPlain, [](Image& i) { set64(i, 24, 16 * kMiB); }, code::kCorruptImage},
      {"L1TooLarge", kPlain, [](Image& i) { set32(i, 36, 5'000'000); }, code::kCorruptImage},
      {"L1Unaligned", kPlain, [](Image& i) { set64(i, 40, l1_of(i) + 8); }, code::kCorruptImage},
      {"L1AtZero", kPlain, [](Image& i) { set64(i, 40, 0); }, code::kCorruptImage},
      {"L1Beyond56Bits", kPlain, [](Image& i) { set64(i, 40, uint64_t{1} << 60); }, code::kCorruptImage},
      {"L1BehindTheEnd", kPlain, [](Image& i) { set64(i, 40, kMiB * 100); }, code::kTruncated},
      {"L1OnTheRefcountTable", kPlain, [](Image& i) { set64(i, 40, be64(i, 48)); }, code::kOverlap},
      {"ExtensionTooLong", kPlain, [](Image& i) { insert_extension(i, 0x12345678, kCluster, ""); },
       code::kCorruptImage},
      {"ExtensionLengthOverflow", kPlain, [](Image& i) { insert_extension(i, 0x12345678, UINT32_MAX, ""); },
       code::kCorruptImage},
      {"ExtensionsWithoutEnd", kPlain,
       [](Image& i) { insert_extension(i, 0x12345678, static_cast<uint32_t>(kCluster - be32(i, 100) - 8), ""); },
       code::kCorruptImage},
      {"ExtensionTwice", kPlain,
       [](Image& i) {
         insert_extension(i, 0x6803f857, 0, "");
         set32(i, be32(i, 100) + 8, 0x6803f857);
       },
       code::kCorruptImage},
      {"TooManySnapshots", kPlain, [](Image& i) { set32(i, 60, 70'000); }, code::kCorruptImage},
      {"MisplacedSnapshots", kPlain,
       [](Image& i) {
         set32(i, 60, 1);
         set64(i, 64, 12345);
       },
       code::kCorruptImage},
      {"NoRefcountTable", kPlain, [](Image& i) { set32(i, 56, 0); }, code::kCorruptImage},
      {"RefcountTableTooLarge", kPlain, [](Image& i) { set32(i, 56, UINT32_MAX); }, code::kCorruptImage},
      {"RefcountOrder", kPlain, [](Image& i) { set32(i, 96, 7); }, code::kCorruptImage},
      {"HeaderCut", kPlain, [](Image& i) { i.resize(50); }, code::kTruncated},
      {"MagicAlone", kPlain, [](Image& i) { i.resize(4); }, code::kTruncated},
  };
  return cases;
}

const std::vector<Hostile>& table_cases() {
  static const std::vector<Hostile> cases{
      {"L2Unaligned", kPlain, [](Image& i) { set64(i, l1_of(i), l2_of(i) + 512); }, code::kCorruptImage},
      {"L2ReservedLowBits", kPlain, [](Image& i) { set64(i, l1_of(i), l2_of(i) | 1); }, code::kCorruptImage},
      {"L2ReservedHighBits", kPlain, [](Image& i) { set64(i, l1_of(i), l2_of(i) | uint64_t{1} << 56); },
       code::kCorruptImage},
      {"L2BehindTheEnd", kPlain, [](Image& i) { set64(i, l1_of(i), uint64_t{1} << 40); }, code::kTruncated},
      {"L2OnTheL1", kPlain, [](Image& i) { set64(i, l1_of(i), l1_of(i)); }, code::kOverlap},
      {"L2OnTheRefcountTable", kPlain, [](Image& i) { set64(i, l1_of(i), be64(i, 48)); }, code::kOverlap},
      {"L2OnARefcountBlock", kPlain, [](Image& i) { set64(i, l1_of(i), be64(i, be64(i, 48))); }, code::kOverlap},
      {"L2OfTwoL1Entries", kPlain,
       [](Image& i) {
         set64(i, 24, 4 * kMiB);
         set32(i, 36, 2);
         set64(i, l1_of(i) + 8, l2_of(i));
       },
       code::kAlias},
      {"DataReservedBits", kPlain, [](Image& i) { i[entry_of(i, 3) + 7] |= 2; }, code::kCorruptImage},
      {"DataReservedHighBits", kPlain, [](Image& i) { i[entry_of(i, 3)] |= 1; }, code::kCorruptImage},
      {"DataUnaligned", kPlain, [](Image& i) { i[entry_of(i, 3) + 6] |= 2; }, code::kCorruptImage},
      {"DataTwice", kPlain, [](Image& i) { set64(i, entry_of(i, 3), be64(i, entry_of(i, 2))); }, code::kAlias},
      {"DataTwiceInAHole", kPlain, [](Image& i) { set64(i, entry_of(i, 60), be64(i, entry_of(i, 2))); }, code::kAlias},
      {"DataOnTheHeader", kPlain, [](Image& i) { set64(i, entry_of(i, 3), uint64_t{1} << 63 | kCluster); },
       code::kOverlap},
      {"DataOnTheL1", kPlain, [](Image& i) { set64(i, entry_of(i, 3), l1_of(i)); }, code::kOverlap},
      {"DataOnItsL2", kPlain, [](Image& i) { set64(i, entry_of(i, 3), l2_of(i)); }, code::kOverlap},
      {"DataOnTheRefcountTable", kPlain, [](Image& i) { set64(i, entry_of(i, 3), be64(i, 48)); }, code::kOverlap},
      {"DataOnARefcountBlock", kPlain, [](Image& i) { set64(i, entry_of(i, 3), be64(i, be64(i, 48))); },
       code::kOverlap},
      {"DataBehindTheEnd", kPlain, [](Image& i) { set64(i, entry_of(i, 3), uint64_t{1} << 50); }, code::kTruncated},
      {"DataAtTheLastPlace", kPlain, [](Image& i) { set64(i, entry_of(i, 3), 0x00fffffffffff000); }, code::kTruncated},
      {"ZeroFlagTwice", kPlain, [](Image& i) { set64(i, entry_of(i, 50), be64(i, entry_of(i, 2)) | 1); }, code::kAlias},
      {"ZeroFlagInVersion2", kOld, [](Image& i) { i[entry_of(i, 3) + 7] |= 1; }, code::kCorruptImage},
      {"CutAt60Percent", kPlain, [](Image& i) { i.resize(i.size() * 6 / 10); }, code::kTruncated},
      {"CutByOneByte", kPlain, [](Image& i) { i.resize(i.size() - 1); }, code::kTruncated},
      {"PackedCutAt60Percent", kPacked, [](Image& i) { i.resize(i.size() * 6 / 10); }, code::kTruncated},
      {"CutBeforeTheL1", kPlain, [](Image& i) { i.resize(l1_of(i)); }, code::kTruncated},
      {"CutWithinTheL2", kPlain, [](Image& i) { i.resize(l2_of(i) + 100); }, code::kTruncated},
      {"SubclusterZeroAndAllocated", kSub, [](Image& i) { i[l2_of(i) + 8 + 3] |= 1; }, code::kCorruptImage},
      {"SubclusterWithoutPlace", kSub, [](Image& i) { set64(i, l2_of(i), 0); }, code::kCorruptImage},
      {"ZeroFlagWithSubclusters", kSub, [](Image& i) { i[l2_of(i) + 7] |= 1; }, code::kCorruptImage},
  };
  return cases;
}

/// The entry of the first compressed cluster at or behind `cluster`.
size_t packed_entry(const Image& image, size_t cluster) {
  while ((be64(image, entry_of(image, cluster)) >> 62 & 1) == 0) ++cluster;
  return entry_of(image, cluster);
}
constexpr unsigned kCountShift = 62 - 4;  // of clusters of 4 KiB
size_t packed_offset(const Image& image, size_t entry) {
  return be64(image, entry) & ((uint64_t{1} << kCountShift) - 1);
}
size_t free_entry(const Image& image) {
  size_t cluster = 0;
  while (be64(image, entry_of(image, cluster)) != 0) ++cluster;
  return entry_of(image, cluster);
}

/// Puts a unit of these bytes behind the file and makes the first compressed cluster use it.
void replace_unit(Image& image, const std::vector<uint8_t>& packed) {
  image.resize((image.size() + kCluster - 1) / kCluster * kCluster);
  size_t offset = image.size();
  image.insert(image.end(), packed.begin(), packed.end());
  uint64_t sectors = (packed.size() - 1) / 512;
  set64(image, packed_entry(image, 0), uint64_t{1} << 62 | sectors << kCountShift | offset);
}

std::vector<uint8_t> deflated(size_t size) {
  std::vector<uint8_t> content(size, 'x');
  std::vector<uint8_t> out(size + 1000);
  libdeflate_compressor* compressor = libdeflate_alloc_compressor(6);
  out.resize(libdeflate_deflate_compress(compressor, content.data(), size, out.data(), out.size()));
  libdeflate_free_compressor(compressor);
  return out;
}

const std::vector<Hostile>& packed_cases() {
  static const std::vector<Hostile> cases{
      {"UnitTwice", kPacked, [](Image& i) { set64(i, free_entry(i), be64(i, packed_entry(i, 2))); }, code::kAlias},
      {"UnitWithinAnother", kPacked,
       [](Image& i) {
         // A stored block that holds a whole stream: both decode, and use the same bytes.
         std::vector<uint8_t> inner = deflated(kCluster);
         std::vector<uint8_t> outer{1, 0, 0x10, 0xff, 0xef};
         outer.insert(outer.end(), inner.begin(), inner.end());
         outer.resize(5 + kCluster);
         replace_unit(i, outer);
         size_t first = packed_entry(i, 0);
         set64(i, free_entry(i), uint64_t{1} << 62 | (packed_offset(i, first) + 5));
       },
       code::kAlias},
      {"UnitOnPlainData", kPacked,
       [](Image& i) {
         size_t entry = packed_entry(i, 2);
         set64(i, free_entry(i), packed_offset(i, entry) / kCluster * kCluster);
       },
       code::kOverlap},
      {"UnitOnTheL1", kPacked, [](Image& i) { set64(i, packed_entry(i, 0), uint64_t{1} << 62 | (l1_of(i) + 100)); },
       code::kOverlap},
      {"UnitBeyond56Bits", kPacked,
       [](Image& i) { set64(i, packed_entry(i, 0), uint64_t{1} << 62 | uint64_t{1} << 56); }, code::kCorruptImage},
      {"UnitBehindTheEnd", kPacked,
       [](Image& i) { set64(i, packed_entry(i, 0), uint64_t{1} << 62 | uint64_t{1} << 40); }, code::kTruncated},
      {"UnitDamaged", kPacked, [](Image& i) { i[packed_offset(i, packed_entry(i, 0))] = 0x07; }, code::kCorruptCluster},
      {"UnitTooShort", kPacked, [](Image& i) { replace_unit(i, deflated(kCluster - 1)); }, code::kCorruptCluster},
      {"UnitTooLong", kPacked, [](Image& i) { replace_unit(i, deflated(kCluster + 1)); }, code::kCorruptCluster},
      {"UnitWithoutEnd", kPacked, [](Image& i) { replace_unit(i, std::vector<uint8_t>(512, 0xff)); },
       code::kCorruptCluster},
      {"ZstdDamaged", kZstd, [](Image& i) { i[packed_offset(i, packed_entry(i, 0))] ^= 0xff; }, code::kCorruptCluster},
      {"ZstdSkippableOnly", kZstd,
       [](Image& i) {
         replace_unit(i, {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0});
       },
       code::kCorruptCluster},
  };
  return cases;
}

std::string case_name(const testing::TestParamInfo<Hostile>& row) {
  return row.param.name;
}

INSTANTIATE_TEST_SUITE_P(Qcow2Header, Refused, testing::ValuesIn(header_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Qcow2Tables, Refused, testing::ValuesIn(table_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(Qcow2Packed, Refused, testing::ValuesIn(packed_cases()), case_name);

TEST(Qcow2Hostile, NamesTheFirstMissingGuestOffset) {
  Image image = cached_image(kPlain);
  size_t cut = (be64(image, entry_of(image, 20)) & 0x00fffffffffffe00) + 1000;
  image.resize(cut);
  Converted result = convert(image);
  EXPECT_EQ(result.code, code::kTruncated);
  EXPECT_NE(result.message.find("guest offset " + std::to_string(20 * kCluster + 1000)), std::string::npos)
      << result.message;
  EXPECT_EQ(result.size, 20 * kCluster + 1000);
}

TEST(Qcow2Hostile, AcceptsADirtyImageWithAWarning) {
  Image image = cached_image(kPlain);
  set64(image, 72, 1);
  Converted result = convert(image);
  EXPECT_EQ(result.code, "") << result.message;
  ASSERT_EQ(result.info.warnings.size(), 1u);
  EXPECT_NE(result.info.warnings[0].find("dirty"), std::string::npos);
}

TEST(Qcow2Hostile, IgnoresAnAbsurdBitmapDirectory) {
  Image image = cached_image(kPlain);
  insert_extension(image, 0x23852875, 24, std::string(24, '\xff'));
  EXPECT_EQ(convert(image).code, "");
}

TEST(Qcow2Hostile, IgnoresOddRefcounts) {
  Image image = cached_image(kPlain);
  size_t table = be64(image, 48);
  for (size_t i = 1; i < 400; ++i) set64(image, table + i * 8, i * 0x123456789abcdef);
  EXPECT_EQ(convert(image).code, "");
  set64(image, table, l1_of(image));
  EXPECT_EQ(convert(image).code, "") << "refcounts that claim the L1 table must not hide it";
}

TEST(Qcow2Hostile, BoundsTheTablesOfAMetadataFlood) {
  TempDir directory;
  std::string path = directory.path("flood.qcow2");
  run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "32M"});
  Image image = read_file(path);
  size_t tables = (image.size() + 511) / 512 * 512;
  size_t count = be32(image, 36);
  for (size_t i = 0; i < count; ++i) set64(image, l1_of(image) + i * 8, tables + i * 512);
  image.resize(tables + count * 512);
  ConvertOptions options;
  EXPECT_EQ(convert(image, options).code, "");
  options.limits.max_metadata = 5000;
  Converted result = convert(image, options);
  EXPECT_EQ(result.code, code::kMetadataLimit);
  EXPECT_NE(result.message.find("L2 tables"), std::string::npos) << result.message;
}

TEST(Qcow2Hostile, RefusesAnImageThatIsAlsoADisc) {
  TempDir directory;
  std::string path = directory.path("disk.qcow2");
  run({"qemu-img", "create", "-q", "-f", "qcow2", path, "1M"});
  Image image = read_file(path);
  constexpr std::string_view kMagic = "\1CD001\1";
  std::copy(kMagic.begin(), kMagic.end(), image.begin() + 32768);
  EXPECT_EQ(convert(image).code, code::kAmbiguous);
  ConvertOptions declared;
  declared.open.declared_format = "qcow2";
  EXPECT_EQ(convert(image, declared).code, code::kAmbiguous) << "a declaration does not make it safe";
}

TEST(Qcow2Hostile, IsRefusedWhenDeclaredAsSomethingElse) {
  ConvertOptions options;
  options.open.declared_format = "iso";
  EXPECT_EQ(convert(cached_image(kPlain), options).code, code::kFormatMismatch);
  options.open.declared_format = "raw";
  Converted raw = convert(cached_image(kPlain), options);
  EXPECT_EQ(raw.code, "");
  EXPECT_EQ(nested_format(raw.disk), "qcow2");
}

}  // namespace
}  // namespace dvcr::test
