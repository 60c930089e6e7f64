#include <gtest/gtest.h>

#include "support.h"

namespace dvcr::test {
namespace {

TEST(Raw, GivesTheFileAsItIs) {
  for (size_t size : {size_t{1}, size_t{1000}, size_t{3} << 20, (size_t{1} << 20) + 7}) {
    std::vector<uint8_t> disk = make_disk(size, size);
    disk[0] |= 1;
    ConvertOptions options;
    options.limits.max_scratch = 0;
    options.chunk = 4095;
    Converted result = convert(disk, options);
    EXPECT_EQ(result.code, "");
    EXPECT_TRUE(result.disk == disk);
    EXPECT_EQ(result.info.virtual_size, size);
    options.known_size = false;
    EXPECT_FALSE(convert(disk, options).info.virtual_size.has_value());
  }
}

TEST(Raw, IsRefusedWhenItGrowsPastTheLimit) {
  ConvertOptions options;
  options.known_size = false;
  options.limits.max_virtual_size = 1'500'000;
  EXPECT_EQ(convert(make_disk(2'000'000, 1), options).code, code::kTooLarge);
  EXPECT_EQ(convert(make_disk(1'500'000, 1), options).code, "");
}

TEST(Raw, RefusesAnAppleDiskImageSeenAtItsEnd) {
  constexpr std::string_view kTrailer("koly\0\0\0\4\0\0\2\0", 12);
  for (size_t size : {size_t{512}, size_t{5000}, size_t{3} << 20}) {
    std::vector<uint8_t> dmg = make_disk(size, 4);
    std::fill(dmg.end() - 512, dmg.end(), uint8_t{0});
    std::copy(kTrailer.begin(), kTrailer.end(), dmg.end() - 512);
    for (bool with_ranges : {true, false}) {
      ConvertOptions options;
      options.with_ranges = with_ranges;
      options.chunk = 1000;
      const Converted result = convert(dmg, options);
      EXPECT_EQ(result.code, code::kUnsupportedFormat) << size;
      EXPECT_NE(result.message.find("DMG"), std::string::npos) << result.message;
      options.open.declared_format = "raw";
      EXPECT_TRUE(convert(dmg, options).disk == dmg) << "whoever declares raw gets all bytes";
    }
    dmg[dmg.size() - 505] = 5;  // another version
    EXPECT_EQ(convert(dmg).code, "") << size;
  }
}

TEST(Raw, GivesAnIsoAsItIs) {
  std::vector<uint8_t> iso = make_disk(1u << 20, 3);
  constexpr std::string_view kMagic = "\1CD001\1";
  std::copy(kMagic.begin(), kMagic.end(), iso.begin() + 32768);
  Converted result = convert(iso);
  EXPECT_EQ(result.info.format, "iso");
  EXPECT_TRUE(result.disk == iso);
}

}  // namespace
}  // namespace dvcr::test
