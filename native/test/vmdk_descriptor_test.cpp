#include "formats/vmdk_descriptor.h"

#include <gtest/gtest.h>

#include "support.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string parse_code(std::string_view text) {
  return caught([&] { parse_vmdk_descriptor(bytes_of(text)); }).code;
}

std::string refusal(std::string_view create_type, std::string_view parent = "ffffffff") {
  std::string text = vmdk_descriptor(create_type, {sparse_extent(8)}, parent);
  return caught([&] { refuse_unless_one_file(parse_vmdk_descriptor(bytes_of(text))); }).code;
}

std::string with_line(const std::string& line) {
  return vmdk_descriptor("monolithicSparse", {line});
}

TEST(VmdkDescriptor, GivesTheFieldsThatToolsWrite) {
  std::string text = vmdk_descriptor("monolithicFlat", {"RW 6291456 FLAT \"a b-flat.vmdk\" 0", "RDONLY 63 ZERO"});
  VmdkDescriptor descriptor = parse_vmdk_descriptor(bytes_of(text));
  EXPECT_EQ(descriptor.create_type, "monolithicFlat");
  EXPECT_EQ(descriptor.cid, 0x1a2b3c4du);
  EXPECT_EQ(descriptor.parent_cid, kVmdkNoParent);
  ASSERT_EQ(descriptor.extents.size(), 2u);
  EXPECT_EQ(descriptor.extents[0].access, "RW");
  EXPECT_EQ(descriptor.extents[0].sectors, 6291456u);
  EXPECT_EQ(descriptor.extents[0].type, "FLAT");
  EXPECT_EQ(descriptor.extents[0].name, "a b-flat.vmdk");
  EXPECT_EQ(descriptor.extents[1].type, "ZERO");
}

TEST(VmdkDescriptor, IsReadWithWindowsLineEndsAndPadding) {
  std::string text = "# Disk DescriptorFile\r\n  version = 1 \r\ncreateType = streamOptimized\r\n";
  text.resize(2048);
  EXPECT_EQ(parse_vmdk_descriptor(bytes_of(text)).create_type, "streamOptimized");
}

TEST(VmdkDescriptor, IsReadWithWhatQemuLeavesOfALongerOne) {
  std::string text = with_line(sparse_extent(8));
  text += std::string("\0er \"4\"\n", 8);
  text.resize(text.size() + 512);
  EXPECT_EQ(parse_code(text), "");
  text[text.size() - 512] = 'x';
  EXPECT_EQ(parse_code(text), code::kCorruptImage);
}

TEST(VmdkDescriptor, IsRecognisedByItsTitleOrItsVersion) {
  EXPECT_TRUE(is_vmdk_descriptor(bytes_of("# Disk DescriptorFile\nversion=1\n")));
  EXPECT_TRUE(is_vmdk_descriptor(bytes_of("\n# disk descriptorfile\r\n")));
  EXPECT_TRUE(is_vmdk_descriptor(bytes_of("# something\n \nversion=3\ncreateType=\"custom\"\n")));
  EXPECT_FALSE(is_vmdk_descriptor(bytes_of("#!/bin/sh\necho version=1\n")));
  EXPECT_FALSE(is_vmdk_descriptor(std::vector<uint8_t>(70000)));
  EXPECT_FALSE(is_vmdk_descriptor({}));
}

TEST(VmdkDescriptor, IsRefusedWhereReadersCouldDiffer) {
  std::string good = with_line(sparse_extent(8));
  EXPECT_EQ(parse_code(good), "");
  EXPECT_EQ(parse_code(good + "createType=\"monolithicFlat\"\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "CREATETYPE=\"monolithicFlat\"\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "parentCID=ffffffff\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "some words\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "key=\"open\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "key=a\"b\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "k y=1\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "=1\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "CID2\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code("# Disk DescriptorFile\nversion=1\nCID=12\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code("createType=\"custom\"\nCID=xyz\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code("createType=\"custom\"\nparentCID=1ffffffff\n"), code::kCorruptImage);
}

TEST(VmdkDescriptor, IsRefusedWhenItIsNotPlainText) {
  std::string good = with_line(sparse_extent(8));
  EXPECT_EQ(parse_code(good + std::string("\0createType=\"custom\"\n", 21)), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "# gr\xc3\xb6\xc3\x9f"
                              "e\n"),
            code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "\x1b[2J\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + std::string(kMaxVmdkDescriptor, '#')), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "\tddb.x = \"1\" \t\r\n# a\tb\n"), "") << "blanks around values and in comments";
  EXPECT_EQ(parse_code(good + "ddb.x=\"1\r2\"\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "ddb.x=1\t2\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 SPARSE \"a\tb\"")), code::kCorruptImage);
}

TEST(VmdkDescriptor, IsRefusedWithAMalformedExtent) {
  EXPECT_EQ(parse_code(with_line("RW SPARSE \"a\"")), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 99999999999999999999 SPARSE \"a\"")), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 SPARSELY \"a\"")), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 SPARSE a")), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 SPARSE \"a")), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 SPARSE \"\"")), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 FLAT \"a\" b")), code::kCorruptImage);
  EXPECT_EQ(parse_code(vmdk_descriptor("custom", std::vector<std::string>(4097, "RW 8 ZERO"))), code::kMetadataLimit);
}

TEST(VmdkDescriptor, RefusesEachKindThatIsNotOneFile) {
  EXPECT_EQ(refusal("monolithicSparse"), "");
  EXPECT_EQ(refusal("streamOptimized"), "");
  for (const char* type : {"twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "2GbMaxExtentSparse"}) {
    EXPECT_EQ(refusal(type), code::kMultiFile) << type;
  }
  for (const char* type : {"monolithicFlat", "vmfs", "vmfsThin", "vmfsRDM", "vmfsRawDeviceMap", "fullDevice",
                           "partitionedDevice", "custom"}) {
    EXPECT_EQ(refusal(type), code::kExternalData) << type;
  }
  for (const char* type : {"seSparse", "vmfsSparse", "somethingNew"}) {
    EXPECT_EQ(refusal(type), code::kUnsupportedFormat) << type;
  }
  EXPECT_EQ(refusal("monolithicSparse", "12345678"), code::kBackingFile);
  std::string hinted = with_line(sparse_extent(8)) + "parentFileNameHint=\"/etc/passwd\"\n";
  EXPECT_EQ(caught([&] { refuse_unless_one_file(parse_vmdk_descriptor(bytes_of(hinted))); }).code, code::kBackingFile);
}

}  // namespace
}  // namespace dvcr::test
