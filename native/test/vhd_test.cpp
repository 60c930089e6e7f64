#include "block_check.h"
#include "formats/vhd_footer.h"

namespace dvcr::test {
namespace {

constexpr size_t kBlocks = 9;
const OpenOptions kDeclared{.declared_format = "vpc"};

Buffer small_disk() {
  return patchy_disk(kBlocks * 4096 - 1536, 4096, 2);
}

class Vhd : public BlockFormat {
 protected:
  Vhd() : BlockFormat("vpc") {}
};

class FixedVhd : public BlockFormat {
 protected:
  FixedVhd() : BlockFormat("vpc", kDeclared) {}
};

/// Changes a field of both footers, or of the dynamic header, and makes the checksums right again.
auto in_footers(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) {
    for (size_t footer : {size_t{0}, image.size() - kVhdFooterSize}) {
      put_be(image, footer + at, width, value);
      seal_vhd_footer(image, footer);
    }
  };
}
auto in_header(size_t at, unsigned width, uint64_t value) {
  return [=](Buffer& image) {
    put_be(image, kVhdHeader + at, width, value);
    seal_vhd_header(image);
  };
}

TEST_F(Vhd, GivesWhatQemuImgGives) {
  expect_what_qemu_wrote(
      {512, 1 << 20, (5 << 20) + 512, (9 << 20) - 1024},
      {{}, {"-o", "force_size=on"}, {"-W", "-m", "8", "-o", "force_size=on"}, {"-S", "0", "-o", "force_size=on"}});
}

TEST_F(Vhd, GivesTheDiskOfAVirtualMachineThatWroteInAnyOrder) {
  expect_what_a_guest_wrote(30000128, {"-o", "force_size=on"});
}

TEST_F(Vhd, ReadsFilesOfAnyBlockOrder) {
  const Buffer disk = small_disk();
  for (Order order : {Order::kGuest, Order::kReverse, Order::kShuffled, Order::kLastFirst}) {
    for (uint32_t block_size : {512u, 4096u, 1u << 16, 1u << 21}) {
      SCOPED_TRACE(block_size);
      expect_disk_for_every_chunking(make_dynamic_vhd(disk, {.block_size = block_size, .order = order}), disk);
    }
  }
}

TEST_F(Vhd, TakesTheSizeFromTheGeometryOrTheFooterByItsWriter) {
  const std::string file = path("creator.vhd");
  const Buffer disk(kBlocks * 8192, 0x5a);  // larger than its geometry of 69632 bytes
  for (std::string_view creator :
       {"vpc ", "qemu", "qem2", "win ", "d2v ", "tap", "tapX", "CTXS", "vbox", "xo  ", "abcd"}) {
    const Buffer image = make_dynamic_vhd(disk, {.creator = creator});
    write_file(file, image);
    const Converted result = convert(image);
    EXPECT_EQ(result.message, "");
    // qemu takes the geometry of writers that it does not know, and so cuts what VirtualBox and Xen Orchestra write.
    const bool qemu_knows = creator != "vbox" && creator != "xo  " && creator != "abcd" && creator != "tapX";
    EXPECT_EQ(result.size, qemu_knows ? qemu_number(file, "virtual-size") : disk.size()) << creator;
    EXPECT_EQ(result.info.virtual_size, result.size);
    EXPECT_EQ(result.info.warnings.empty(), result.size == disk.size()) << creator;
  }
  EXPECT_EQ(convert(make_dynamic_vhd(disk, {.creator = "wa"})).size, disk.size());
  Buffer largest = make_dynamic_vhd(disk, {.creator = "vpc "});
  in_footers(56, 4, 0xffff10ff)(largest);
  EXPECT_EQ(convert(largest).size, disk.size()) << "the largest geometry stands for any size";
}

TEST_F(Vhd, ReadsATableThatWasMadeForTheSizeAndNotForALargerGeometry) {
  const Buffer disk(kBlocks * 4096, 0x5a);
  for (std::string_view creator : {"vpc ", "qemu", "xo  "}) {
    Buffer image = make_dynamic_vhd(disk, {.creator = creator});
    in_footers(56, 4, 0x00ff10ff)(image);
    const Converted result = convert(image);
    EXPECT_EQ(result.message, "") << creator;
    EXPECT_TRUE(result.disk == disk) << creator;
  }
}

TEST_F(Vhd, OneByteTooManyIsNoTruncation) {
  const Buffer disk = small_disk();
  for (Buffer image : {make_dynamic_vhd(disk), make_fixed_vhd(disk)}) {
    for (size_t more : {size_t{1}, size_t{511}}) {
      Buffer longer = image;
      longer.resize(longer.size() + more, 'x');
      for (bool with_ranges : {true, false}) {
        ConvertOptions options;
        options.with_ranges = with_ranges;
        EXPECT_EQ(convert(longer, options).code, code::kTrailingData) << more;
      }
    }
  }
}

TEST_F(Vhd, ReadsSectorsMarkedAsNeverWrittenAsZeros) {
  const Buffer disk = small_disk();
  for (uint32_t block_size : {4096u, 1u << 16}) {
    const Buffer image = make_dynamic_vhd(disk, {.block_size = block_size, .sparse_bitmaps = true});
    expect_disk_for_every_chunking(image, disk);
    write_file(path("sparse.vhd"), image);
    expect_as_qemu(path("sparse.vhd"));
  }
}

TEST_F(Vhd, RefusesDataInSectorsMarkedAsNeverWritten) {
  Buffer image = make_dynamic_vhd(Buffer(4096, 0x5a));
  image[2048] = 0xfb;  // the sixth sector's bit
  const Converted result = convert(image);
  EXPECT_EQ(result.code, code::kCorruptImage);
  EXPECT_NE(result.message.find("guest offset 2560"), std::string::npos) << result.message;
}

TEST_F(Vhd, SaysWhereATruncatedFileEnds) {
  Buffer image = make_dynamic_vhd(Buffer(3 * 4096, 0x5a));
  image.resize(image.size() - kVhdFooterSize - 1000);
  const Converted result = convert(image);
  EXPECT_EQ(result.code, code::kTruncated);
  EXPECT_NE(result.message.find("guest offset 11288"), std::string::npos) << result.message;
}

TEST_F(Vhd, RefusesWhatNoHonestToolWrites) {
  const Buffer image = make_dynamic_vhd(Buffer(kBlocks * 4096, 0x5a));
  expect_refused(image,
                 {
                     {"wrong footer checksum", be(64, 4, 0), code::kCorruptImage},
                     {"footers that differ", be(image.size() - 512 + 40, 8, 1), code::kCorruptImage},
                     {"no footer at the end", [](Buffer& i) { i.resize(i.size() - 512); }, code::kTruncated},
                     {"half a footer at the end", [](Buffer& i) { i.resize(i.size() - 256); }, code::kTruncated},
                     {"data after the footer", [](Buffer& i) { i.resize(i.size() + 512, 1); }, code::kTrailingData},
                     {"cut in the first footer", [](Buffer& i) { i.resize(100); }, code::kTruncated},
                     {"cut in the header", [](Buffer& i) { i.resize(1000); }, code::kTruncated},
                     {"cut in the table", [](Buffer& i) { i.resize(1540); }, code::kTruncated},
                     {"version 2", in_footers(12, 4, 0x00020000), code::kUnsupportedFeature},
                     {"differencing disk", in_footers(60, 4, 4), code::kBackingFile},
                     {"fixed disk with a footer in front", in_footers(60, 4, 2), code::kCorruptImage},
                     {"unknown type", in_footers(60, 4, 6), code::kCorruptImage},
                     {"disk of no bytes", in_footers(48, 8, 0), code::kEmpty},
                     {"disk of 2^64-1 bytes", in_footers(48, 8, UINT64_MAX), code::kTooLarge},
                     {"disk over 2040 GiB", in_footers(48, 8, (uint64_t{0xff000000} + 1) * 512), code::kTooLarge},
                     {"disk larger than its blocks", in_footers(48, 8, kBlocks * 4096 + 512), code::kCorruptImage},
                     {"header in the footer", in_footers(16, 8, 0), code::kCorruptImage},
                     {"header beyond the end", in_footers(16, 8, UINT64_MAX - 511), code::kTruncated},
                     {"header not aligned", in_footers(16, 8, 513), code::kCorruptImage},
                     {"wrong header checksum", be(kVhdHeader + 36, 4, 0), code::kCorruptImage},
                     {"wrong header signature", in_header(0, 1, 'x'), code::kCorruptImage},
                     {"block size 0", in_header(32, 4, 0), code::kCorruptImage},
                     {"block size not a power of two", in_header(32, 4, 4097), code::kCorruptImage},
                     {"block size of 2 GiB", in_header(32, 4, 1u << 31), code::kCorruptImage},
                     {"table in the footer", in_header(16, 8, 0), code::kCorruptImage},
                     {"table in the header", in_header(16, 8, 1024), code::kOverlap},
                     {"table not aligned", in_header(16, 8, 1540), code::kCorruptImage},
                     {"table beyond the end", in_header(16, 8, uint64_t{1} << 62), code::kTruncated},
                     {"table that ends after 2^64", in_header(16, 8, UINT64_MAX - 511), code::kTruncated},
                     {"block beyond the end", be(kVhdTable, 4, 0x7fffffff), code::kTruncated},
                     {"block in the footer", be(kVhdTable, 4, 0), code::kOverlap},
                     {"block in the table", be(kVhdTable, 4, 3), code::kOverlap},
                     {"the same block twice", be(kVhdTable, 4, be32(image, kVhdTable + 4)), code::kAlias},
                     {"overlapping blocks", be(kVhdTable, 4, be32(image, kVhdTable + 4) + 1), code::kOverlap},
                 });
}

TEST_F(Vhd, RefusesTablesAndDisksOverTheLimitsBeforeReadingThem) {
  const Buffer image = make_dynamic_vhd(Buffer(kBlocks * 4096, 0x5a));
  ConvertOptions options;
  options.limits.max_virtual_size = kBlocks * 4096 - 1;
  EXPECT_EQ(convert(image, options).code, code::kTooLarge);
  options.limits = {};
  options.limits.max_metadata = 64;
  EXPECT_EQ(convert(image, options).code, code::kMetadataLimit);
}

TEST_F(FixedVhd, GivesWhatQemuImgGivesWhenDeclared) {
  expect_what_qemu_wrote({512, 3 << 20, (5 << 20) + 512},
                         {{"-o", "subformat=fixed,force_size=on"}, {"-o", "subformat=fixed,force_size=off"}});
}

TEST_F(FixedVhd, NeverStoresItsFooterForAnyChunkingAndLength) {
  for (size_t size :
       {size_t{512}, size_t{513 * 512}, (size_t{1} << 20) - 512, size_t{1} << 20, (size_t{1} << 20) + 512}) {
    const Buffer disk = noise(size, size);
    expect_disk_for_every_chunking(make_fixed_vhd(disk), disk, kDeclared);
  }
}

TEST_F(FixedVhd, IsSeenWithoutDeclarationWhereTheSourceHasRandomAccess) {
  const Buffer disk = small_disk();
  ConvertOptions options;
  options.with_ranges = true;
  const Converted result = convert(make_fixed_vhd(disk), options);
  EXPECT_EQ(result.message, "");
  EXPECT_EQ(result.info.format, "vpc");
  EXPECT_EQ(result.info.virtual_size, disk.size());
  EXPECT_TRUE(result.disk == disk);
}

TEST_F(FixedVhd, IsRefusedWithItsOwnCodeWhenAnUndeclaredStreamEndsWithAFooter) {
  for (size_t size : {size_t{1024}, (size_t{1} << 20) - 512, (size_t{1} << 20) - 256, (size_t{1} << 20) + 256}) {
    const Buffer image = make_fixed_vhd(noise(size, 4));
    for (size_t chunk : {size_t{1}, size_t{1000}, size_t{0}}) {
      for (bool known_size : {true, false}) {
        ConvertOptions options;
        options.chunk = chunk;
        options.known_size = known_size;
        EXPECT_EQ(convert(image, options).code, code::kUndeclaredVhd) << size;
      }
    }
  }
}

TEST_F(FixedVhd, IsStoredWithItsFooterWhenDeclaredRaw) {
  const Buffer image = make_fixed_vhd(small_disk());
  for (bool with_ranges : {true, false}) {
    ConvertOptions options;
    options.open.declared_format = "raw";
    options.with_ranges = with_ranges;
    EXPECT_TRUE(convert(image, options).disk == image);
    options.open.declared_format.clear();
    options.open.source_is_disk = true;
    EXPECT_TRUE(convert(image, options).disk == image);
  }
}

TEST_F(FixedVhd, IsRefusedWhenDeclaredButNotOne) {
  const Buffer disk = small_disk();
  const Buffer image = make_fixed_vhd(disk);
  const size_t footer = disk.size();
  auto sealed = [footer](size_t at, unsigned width, uint64_t value) {
    return [=](Buffer& i) {
      put_be(i, footer + at, width, value);
      seal_vhd_footer(i, footer);
    };
  };
  const std::vector<Damage> damages{
      {"no footer", [&](Buffer& i) { i = disk; }, code::kCorruptImage},
      {"wrong checksum", be(footer + 64, 4, 0), code::kCorruptImage},
      {"footer of a dynamic disk", sealed(60, 4, 3), code::kCorruptImage},
      {"footer of a differencing disk", sealed(60, 4, 4), code::kBackingFile},
      {"disk shorter than its footer says", sealed(48, 8, disk.size() + 512), code::kSizeMismatch},
      {"disk longer than its footer says", sealed(48, 8, disk.size() - 512), code::kSizeMismatch},
      {"a footer and nothing else", [](Buffer& i) { i = Buffer(512, 1); }, code::kEmpty},
      {"less than a footer", [](Buffer& i) { i.resize(100); }, code::kTruncated},
  };
  for (const Damage& damage : damages) {
    Buffer damaged = image;
    damage.apply(damaged);
    for (bool with_ranges : {true, false}) {
      ConvertOptions options;
      options.open = kDeclared;
      options.with_ranges = with_ranges;
      EXPECT_EQ(convert(damaged, options).code, damage.code) << damage.name;
    }
  }
  ConvertOptions options;
  options.open = kDeclared;
  options.known_size = false;
  options.limits.max_virtual_size = 1024;
  EXPECT_EQ(convert(image, options).code, code::kTooLarge);
}

TEST_F(FixedVhd, IsRecognisedByCookieChecksumAndType) {
  EXPECT_TRUE(is_vhd_footer(vhd_footer(1024, 2, "win ")));
  EXPECT_FALSE(is_vhd_footer(vhd_footer(1024, 3, "win ")));
  Buffer damaged = vhd_footer(1024, 2, "win ");
  damaged[400] = 1;
  EXPECT_FALSE(is_vhd_footer(damaged));
  EXPECT_FALSE(is_vhd_footer(Buffer(512)));
  EXPECT_FALSE(is_vhd_footer({}));
}

}  // namespace
}  // namespace dvcr::test
