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
  EXPECT_EQ(parse_code(good + "\x1b[2J\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + std::string(kMaxVmdkDescriptor, '#')), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "\tddb.x = \"1\" \t\r\n# a\tb\n"), "") << "blanks around values and in comments";
  EXPECT_EQ(parse_code(good + "ddb.x=\"1\r2\"\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(good + "ddb.x=1\t2\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(with_line("RW 8 SPARSE \"a\tb\"")), code::kCorruptImage);
}

TEST(VmdkDescriptor, MayHaveNamesOfAllLanguagesInUtf8) {
  for (const char* name : {"B\xc3\xbcro", "\xe7\xa3\x81\xe7\x9b\x98", "\xd7\x93\xd7\x99", "\xf0\x9f\x92\xbe"}) {
    const std::string line = std::string("RW 8 SPARSE \"") + name + ".vmdk\"";
    const std::string text = with_line(line) + "# " + name + "\nddb.comment = \"" + name + "\"\n";
    EXPECT_EQ(parse_code(text), "") << name;
    EXPECT_EQ(parse_vmdk_descriptor(bytes_of(text)).extents.at(0).name, std::string(name) + ".vmdk");
    EXPECT_EQ(parse_code(text + "encoding=\"UTF-8\"\n"), "") << name;
  }
  const std::string good = with_line(sparse_extent(8));
  EXPECT_EQ(parse_code(good + "gr\xc3\xbcn=1\n"), code::kCorruptImage) << "keys are ASCII";
  EXPECT_EQ(caught([] {
              refuse_unless_one_file(parse_vmdk_descriptor(bytes_of(vmdk_descriptor("monolithicSparse\xc2\xa0", {}))));
            }).code,
            code::kUnsupportedFormat)
      << "a blank of another language is no blank";
}

TEST(VmdkDescriptor, IsRefusedWhereItIsNotUtf8) {
  const std::string good = with_line(sparse_extent(8));
  const std::vector<std::pair<const char*, std::string>> cases{
      {"no such byte", "\xff"},
      {"a second byte alone", "\x80"},
      {"cut short", "\xc3"},
      {"cut short before a letter", "\xe2\x82x"},
      {"overlong, of two bytes", "\xc0\xaf"},
      {"overlong, of three", "\xe0\x80\xaf"},
      {"overlong, of four", "\xf0\x80\x80\xaf"},
      {"overlong zero", "\xc0\x80"},
      {"half of a surrogate pair", "\xed\xa0\x80"},
      {"beyond Unicode", "\xf4\x90\x80\x80"},
      {"of five bytes", "\xf8\x88\x80\x80\x80"},
      {"a control character", "\xc2\x85"},
      {"a line separator", "\xe2\x80\xa8"},
      {"a paragraph separator", "\xe2\x80\xa9"},
  };
  for (const auto& [what, bytes] : cases) {
    EXPECT_EQ(parse_code(good + "# a" + bytes + "\n"), code::kCorruptImage) << what;
    EXPECT_EQ(parse_code(with_line("RW 8 SPARSE \"a" + bytes + "\"")), code::kCorruptImage) << what;
    EXPECT_EQ(parse_code(good + "encoding=\"UTF-8\"\n# a" + bytes + "\n"), code::kCorruptImage) << what;
    EXPECT_EQ(parse_code(good + "encoding=\"UTF-16\"\n# a" + bytes + "\n"), code::kCorruptImage) << what;
  }
  const Converted result = caught([&] { parse_vmdk_descriptor(bytes_of("# Disk\xff\n")); });
  EXPECT_NE(result.message.find("at byte 6"), std::string::npos) << result.message;
}

TEST(VmdkDescriptor, MayHaveNamesOfTheEncodingThatItNames) {
  // "Büro" and "磁盘" as a Windows host writes them.
  const std::string western = with_line("RW 8 SPARSE \"B\xfcro.vmdk\"");
  const std::string chinese = with_line("RW 8 SPARSE \"\xb4\xc5\xc5\xcc.vmdk\"");
  for (const char* name : {"windows-1252", "Windows-936", "ISO-8859-15", "iso-8859-1"}) {
    EXPECT_EQ(parse_code(western + "encoding=\"" + name + "\"\n"), "") << name;
  }
  for (const char* name : {"GBK", "gb18030", "Big5", "Shift_JIS"}) {
    EXPECT_EQ(parse_code(chinese + "encoding=\"" + name + "\"\n"), "") << name;
  }
  for (const char* name :
       {"", "UTF-8", "UTF-7", "UTF-16LE", "windows-", "windows-12x", "window", "ISO-2022-JP", "IBM037"}) {
    EXPECT_EQ(parse_code(western + "encoding=\"" + name + "\"\n"), code::kCorruptImage) << name;
  }
  EXPECT_EQ(parse_code(western + "encoding=\"windows-1252\"\nencoding=\"UTF-8\"\n"), code::kCorruptImage);
  EXPECT_EQ(parse_code(western + "encoding=\"windows-1252\"\n# \x1b\n"), code::kCorruptImage) << "a control character";
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
  EXPECT_EQ(refusal("monoLithicSparse"), "") << "as its keys, a createType is read in any case";
  EXPECT_EQ(refusal("MONOLITHICFLAT"), code::kExternalData);
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
