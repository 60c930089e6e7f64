#include "hash.h"

#include <gtest/gtest.h>

#include "error.h"

namespace dvcr {
namespace {

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string digest_of(std::string_view algorithm, std::string_view text) {
  Digest digest(algorithm);
  digest.update(bytes_of(text));
  return digest.finish();
}

// The test vectors of RFC 1321 and FIPS 180-4.
TEST(Hash, EveryAlgorithmGivesItsPublishedTestVector) {
  EXPECT_EQ(digest_of("md5", "abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(digest_of("sha1", "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(digest_of("sha256", "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of("sha512", "abc"),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  EXPECT_EQ(digest_of("sha256", ""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// GOST R 34.11-2012 (RFC 6986) prints its vectors from the last byte to the first. These are the bytes in the order of
// their output, as gostsum and gogost print them and as a checksum is written.
TEST(Hash, StreebogGivesTheVectorsOfTheStandard) {
  constexpr std::string_view kFirst = "012345678901234567890123456789012345678901234567890123456789012";
  EXPECT_EQ(digest_of("streebog256", kFirst), "9d151eefd8590b89daa6ba6cb74af9275dd051026bb149a452fd84e5e57b5500");
  EXPECT_EQ(digest_of("streebog512", kFirst),
            "1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa"
            "00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48");
  // The standard's second message, in code page 1251: the opening of verse 8 of the Tale of Igor's Campaign.
  constexpr std::string_view kSecond =
      "\xd1\xe5\x20\xe2\xe5\xf2\xf0\xe8\x2c\x20\xd1\xf2\xf0\xe8\xe1\xee\xe6\xe8\x20\xe2\xed\xf3\xf6\xe8\x2c"
      "\x20\xe2\xe5\xfe\xf2\xfa\x20\xf1\x20\xec\xee\xf0\xff\x20\xf1\xf2\xf0\xe5\xeb\xe0\xec\xe8\x20\xed\xe0\x20"
      "\xf5\xf0\xe0\xe1\xf0\xfb\xff\x20\xef\xeb\xfa\xea\xfb\x20\xc8\xe3\xee\xf0\xe5\xe2\xfb";
  EXPECT_EQ(digest_of("streebog256", kSecond), "9dd2fe4e90409e5da87f53976d7405b0c0cac628fc669a741d50063c557e8f50");
  EXPECT_EQ(digest_of("streebog512", kSecond),
            "1e88e62226bfca6f9994f1f2d51569e0daf8475a3b0fe61a5300eee46d961376"
            "035fe83549ada2b8620fcd7c496ce5b33f0cb9dddc2b6460143b03dabac9fb28");
  EXPECT_EQ(digest_of("streebog256", ""), "3f539a213e97c802cc229d474c6aa32a825a360b2a933a949fd925208d9ce1bb");
}

TEST(Hash, PiecesGiveTheSameDigestAsTheWhole) {
  for (const char* name : {"sha256", "streebog512"}) {
    Digest digest(name);
    for (const char c : std::string_view("abc")) digest.update(bytes_of(std::string_view(&c, 1)));
    Digest moved = std::move(digest);
    EXPECT_EQ(moved.algorithm(), name);
    EXPECT_EQ(moved.finish(), digest_of(name, "abc"));
  }
}

TEST(Hash, AnUnknownNameIsRefused) {
  for (const char* name : {"", "SHA256", "sha3-256", "shake128"}) {
    try {
      Digest digest(name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code::kInternal);
    }
  }
}

}  // namespace
}  // namespace dvcr
