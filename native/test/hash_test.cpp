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

TEST(Hash, PiecesGiveTheSameDigestAsTheWhole) {
  Digest digest("sha256");
  for (const char c : std::string_view("abc")) digest.update(bytes_of(std::string_view(&c, 1)));
  Digest moved = std::move(digest);
  EXPECT_EQ(moved.algorithm(), "sha256");
  EXPECT_EQ(moved.finish(), digest_of("sha256", "abc"));
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
