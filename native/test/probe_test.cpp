#include <gtest/gtest.h>

#include <filesystem>

#include "disk_image.h"
#include "formats/raw.h"
#include "support.h"

namespace dvcr {
namespace {

using namespace std::string_view_literals;

struct Recognised {
  std::string format;  // or the code of the error
  std::string message;
};

void put(std::vector<uint8_t>& bytes, size_t offset, std::string_view text) {
  if (bytes.size() < offset + text.size()) bytes.resize(offset + text.size());
  std::copy(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

Recognised recognise(const std::vector<uint8_t>& bytes, const OpenOptions& options = {}) {
  MemorySource memory(bytes, 1000);
  PrefixSource source(memory);
  ScratchBudget budget(0);
  ImageReader reader(source, Limits{}, budget, std::filesystem::temp_directory_path().string());
  try {
    return {open_image(source, reader, options)->info().format, ""};
  } catch (const Error& error) {
    return {std::string(error.code()), error.what()};
  }
}

std::vector<uint8_t> disk(std::string_view magic, size_t offset = 0, size_t size = 128 * 1024) {
  std::vector<uint8_t> bytes(size);
  put(bytes, offset, magic);
  return bytes;
}

TEST(Probe, TakesAnythingElseAsRaw) {
  EXPECT_EQ(recognise({1}).format, "raw");
  EXPECT_EQ(recognise(disk("")).format, "raw");
  EXPECT_EQ(recognise(disk("\x55\xaa"sv, 510)).format, "raw");
  EXPECT_EQ(recognise(disk("EFI PART", 512)).format, "raw");
  EXPECT_EQ(recognise(disk("hsqs")).format, "raw");
}

TEST(Probe, WarnsWhereNothingWasRecognised) {
  auto warnings = [](const std::vector<uint8_t>& bytes) { return test::convert(bytes).info.warnings.size(); };
  EXPECT_EQ(warnings(disk("\xfa\x31\xc0\x8e")), 1u) << "code without a boot sector's mark";
  EXPECT_EQ(warnings(disk("\1", 600, 600)), 0u) << "a first sector of zeros";
  std::vector<uint8_t> boot = disk("\xfa\x31\xc0\x8e");
  put(boot, 510, "\x55\xaa");
  EXPECT_EQ(warnings(boot), 0u);
  const std::vector<std::pair<std::string_view, size_t>> marks{
      {"XFSB", 0},         {"hsqs", 0},       {"NTFS    ", 3},      {"\x53\xef", 1080},
      {"_BHRfS_M", 65600}, {"LABELONE", 512}, {"SWAPSPACE2", 4086}, {"\x10\x20\xf5\xf2", 1024},
      {"EFI PART", 4096},
  };
  for (const auto& [magic, offset] : marks) {
    // Text in front of it would be refused.
    std::vector<uint8_t> volume = disk(magic, offset);
    if (offset > 4) put(volume, 0, "{\"a\"");
    if (offset == 3) put(volume, 0, "MZ\1");
    EXPECT_EQ(recognise(volume).format, "raw") << magic;
    EXPECT_EQ(warnings(volume), 0u) << magic;
  }
}

TEST(Probe, RefusesWhatIsKnownToBeNoDisk) {
  const std::vector<std::pair<std::string_view, std::string_view>> samples{
      {"\xed\xab\xee\xdb\3\0"sv, "RPM"},
      {"!<arch>\ndebian-binary"sv, "Debian"},
      {"\x7f"
       "ELF\2\1\1"sv,
       "ELF"},
      {"%PDF-1.7\n%\xe2\xe3\xcf\xd3"sv, "PDF"},
      {"\x89PNG\r\n\x1a\n"sv, "PNG"},
      {"SQLite format 3\0"sv, "SQLite"},
  };
  for (const auto& [magic, name] : samples) {
    const Recognised found = recognise(disk(magic));
    EXPECT_EQ(found.format, code::kNotADisk) << name;
    EXPECT_NE(found.message.find(name), std::string::npos) << found.message;
    std::vector<uint8_t> bootable = disk(magic);
    put(bootable, 510, "\x55\xaa");
    EXPECT_EQ(recognise(bootable).format, "raw") << "a boot sector may begin with any bytes: " << name;
    EXPECT_EQ(recognise(disk(magic), {"raw", false}).format, "raw");
  }
}

TEST(Probe, RefusesContainersOfDisksWithTheToolThatOpensThem) {
  const std::vector<std::pair<std::string_view, std::string_view>> samples{
      {"VMA\0\0\0\0\1"sv, "vma extract"},
      {"\x3a\xff\x26\xed\1\0\0\0"sv, "simg2img"},
      {"partclone-image\0"sv, "partclone"},
      {"Rar!\x1a\7\1\0"sv, "rar"},
      {"MSCF\0\0\0\0"sv, "cabinet"},
      {"\x89LZO\0\r\n\x1a\n"sv, "lzop"},
      {"\x1f\x9d\x90\1\2"sv, "compress"},
      {"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"sv, "lzma"},
      {"070701000A", "cpio"},
      {"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\2"sv, "2352"},
  };
  for (const auto& [magic, name] : samples) {
    std::vector<uint8_t> file = disk(magic);
    file[300] = 1;  // no first sector of zeros
    const Recognised found = recognise(file);
    EXPECT_EQ(found.format, code::kUnsupportedFormat) << name;
    EXPECT_NE(found.message.find(name), std::string::npos) << found.message;
  }
}

TEST(Probe, RefusesTextOfEveryKind) {
  const std::vector<std::pair<std::string, std::string>> samples{
      {"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "HTML page"},
      {"\n  <HTML lang=en>", "HTML page"},
      {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"},
      {"<?xml version=\"1.0\"?><Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\">", "OVF"},
      {"\xef\xbb\xbf{\"errors\":[]}", "JSON"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS"},
      {"-----BEGIN CERTIFICATE-----\nMIIB", "PEM"},
      {"#!/bin/sh\necho", "script"},
      {"404 page not found\n", "text"},
      {"disk", "text"},
      {"Страница не найдена", "text"},
      {std::string(4095, 'x') + "\xd0\xa1", "text"},
      {"\x1b[1mbold\x1b[0m \f", "text"},
  };
  for (const auto& [text, name] : samples) {
    const Recognised found = recognise({text.begin(), text.end()});
    EXPECT_EQ(found.format, code::kNotADisk) << text;
    EXPECT_NE(found.message.find(name), std::string::npos) << found.message;
    EXPECT_EQ(recognise({text.begin(), text.end()}, {"raw", false}).format, "raw");
  }
  EXPECT_EQ(recognise({'a', 'b', 'c', 0}).format, "raw") << "a zero is no text";
  EXPECT_EQ(recognise({'a', 'b', 0xff, 'c'}).format, "raw") << "no UTF-8";
}

TEST(Probe, RefusesAnEmptySource) {
  EXPECT_EQ(recognise({}).format, code::kEmpty);
}

TEST(Probe, KnowsDiscsAlsoWhenTheyAreHybrid) {
  std::vector<uint8_t> iso = disk("\1CD001\1", 32768);
  EXPECT_EQ(recognise(iso).format, "iso");
  put(iso, 510, "\x55\xaa");
  put(iso, 512, "EFI PART");
  EXPECT_EQ(recognise(iso).format, "iso");
  std::vector<uint8_t> udf = disk("\0BEA01\1"sv, 32768);
  EXPECT_EQ(recognise(udf).format, "raw");
  put(udf, 34816, "\0NSR03\1"sv);
  EXPECT_EQ(recognise(udf).format, "iso");
  EXPECT_EQ(recognise(disk("\0NSR02\1"sv, 34816)).format, "raw") << "no sequence begins before it";
}

TEST(Probe, SaysWhatARefusedFileIsAndWhatToDo) {
  const std::vector<std::pair<std::string_view, std::string_view>> samples{
      {"QFI\xfb\0\0\0\1"sv, "version 1"},
      {"QED\0"sv, "QED"},
      {"WithoutFreeSpace", "Parallels"},
      {"WithouFreSpacExt", "Parallels"},
      {"MSWIM\0\0\0"sv, "WIM"},
      {"EVF\t\r\n\xff\0"sv, "EWF"},
      {"\x04\x22\x4d\x18", "lz4"},
      {"PK\3\4", "zip"},
      {"7z\xbc\xaf\x27\x1c", "7z"},
      {"LZIP\1", "lzip"},
      {"Bochs Virtual HD Image", "Bochs"},
      {"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "cloop"},
      {"shdw", "ASIF"},
  };
  for (const auto& [magic, name] : samples) {
    Recognised found = recognise(disk(magic));
    EXPECT_EQ(found.format, code::kUnsupportedFormat) << name;
    EXPECT_NE(found.message.find(name), std::string::npos) << found.message;
    EXPECT_NE(found.message.find(": "), std::string::npos) << found.message;
  }
  EXPECT_EQ(recognise(disk("LUKS\xba\xbe")).format, code::kEncrypted);
}

TEST(Probe, NeverGuessesBetweenTwoFormats) {
  std::vector<uint8_t> both = disk("\1CD001\1", 32768);
  put(both, 0, "PK\3\4");
  EXPECT_EQ(recognise(both).format, code::kAmbiguous);
}

TEST(Probe, HoldsTheUserToTheDeclaredFormat) {
  OpenOptions iso{"iso", false};
  EXPECT_EQ(recognise(disk("\1CD001\1", 32768), iso).format, "iso");
  EXPECT_EQ(recognise(disk(""), iso).format, code::kFormatMismatch);
  EXPECT_EQ(recognise(disk("PK\3\4"), iso).format, code::kFormatMismatch);
  EXPECT_EQ(recognise(disk(""), {"floppy", false}).format, code::kUnsupportedFormat);
}

TEST(Probe, TakesDeclaredRawAndBlockDevicesAsTheyAre) {
  EXPECT_EQ(recognise(disk("LUKS\xba\xbe"), {"raw", false}).format, "raw");
  EXPECT_EQ(recognise(disk("QFI\xfb"), {"", true}).format, "raw");
}

TEST(Probe, KnowsAnImageWithinAnImage) {
  EXPECT_EQ(nested_format(disk("")), "");
  EXPECT_NE(nested_format(disk("QED\0"sv)), "");
  EXPECT_EQ(nested_format(disk("LUKS\xba\xbe")), "") << "an encrypted disk is a disk";
  EXPECT_EQ(nested_format(disk("\1CD001\1", 32768)), "") << "a disc is stored as it is";
}

std::vector<uint8_t> gpt(size_t sector, uint64_t backup) {
  std::vector<uint8_t> bytes = disk("EFI PART", sector);
  auto set = [&](size_t field, uint64_t value) {
    for (size_t i = 0; i < 8; ++i) bytes[sector + field + i] = static_cast<uint8_t>(value >> i * 8);
  };
  set(24, 1);
  set(32, backup);
  set(40, 34);
  set(48, backup - 34);
  return bytes;
}

TEST(GuessSize, ReadsThePlaceOfTheBackupGpt) {
  for (size_t sector : {size_t{512}, size_t{4096}}) {
    std::optional<SizeGuess> guess = guess_size(gpt(sector, 8191));
    ASSERT_TRUE(guess.has_value());
    EXPECT_EQ(guess->size, 8192 * sector);
    EXPECT_EQ(guess->from, "gpt");
  }
}

TEST(GuessSize, IgnoresImplausibleTables) {
  EXPECT_FALSE(guess_size(gpt(512, 10)).has_value());
  EXPECT_FALSE(guess_size(gpt(512, UINT64_MAX)).has_value());
  EXPECT_FALSE(guess_size(disk("EFI PART", 512)).has_value());
  EXPECT_FALSE(guess_size(disk("EFI PART", 512, 520)).has_value());
  EXPECT_FALSE(guess_size({}).has_value());
  EXPECT_FALSE(guess_size(disk("\1CD001\1", 32768)).has_value());
}

std::vector<uint8_t> mbr(uint8_t status, uint8_t type) {
  std::vector<uint8_t> bytes = disk("");
  put(bytes, 510, "\x55\xaa"sv);
  put(bytes, 446,
      std::string{static_cast<char>(status), 0, 0, 0, static_cast<char>(type), 0, 0, 0, 0, 8, 0, 0, 0, 0, 1});
  return bytes;
}

TEST(PartitionsEnd, IsThatOfTheLastPartitionInAnMbr) {
  EXPECT_EQ(partitions_end(mbr(0x80, 0x83)), (2048u + 65536u) * 512);
  EXPECT_EQ(partitions_end(mbr(0, 0)), 0u) << "an empty table";
  EXPECT_EQ(partitions_end(mbr(0, 0xee)), 0u) << "protects a GPT";
  EXPECT_EQ(partitions_end(mbr(0xfa, 0x83)), 0u) << "the code of a boot sector";
  EXPECT_EQ(partitions_end(disk("")), 0u);
  EXPECT_EQ(partitions_end({}), 0u);
}

TEST(GuessSize, ReadsTheVolumeSizeOfAnIso) {
  std::vector<uint8_t> iso = disk("\1CD001\1", 32768);
  put(iso, 32768 + 80, "\0\1\0\0\0\0\1\0"sv);
  put(iso, 32768 + 128, "\0\x08\x08\0"sv);
  std::optional<SizeGuess> guess = guess_size(iso);
  ASSERT_TRUE(guess.has_value());
  EXPECT_EQ(guess->size, 256u * 2048);
  EXPECT_EQ(guess->from, "iso");
  iso[32768 + 80] = 1;
  EXPECT_FALSE(guess_size(iso).has_value()) << "the two byte orders disagree";
}

}  // namespace
}  // namespace dvcr
