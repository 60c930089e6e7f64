#include <gtest/gtest.h>

#include <filesystem>

#include "disk_image.h"
#include "formats/raw.h"

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
