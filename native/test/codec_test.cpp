#include "codec.h"

#include <gtest/gtest.h>
#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <random>

namespace dvcr {
namespace {

constexpr size_t kUnit = 64 * 1024;

std::vector<uint8_t> text(size_t size) {
  std::mt19937 random(7);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>('a' + random() % 8);
  return bytes;
}

std::vector<uint8_t> pack_with_zlib(Bytes bytes, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::vector<uint8_t> packed(deflateBound(&stream, bytes.size()) + 64);
  stream.next_in = const_cast<uint8_t*>(bytes.data());
  stream.avail_in = static_cast<unsigned>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<unsigned>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::vector<uint8_t> pack(UnitCodec codec, Bytes bytes) {
  if (codec == UnitCodec::kDeflate) return pack_with_zlib(bytes, -12);  // the 4 KiB window of qemu-img
  if (codec == UnitCodec::kZlib) return pack_with_zlib(bytes, 15);
  std::vector<uint8_t> packed(ZSTD_compressBound(bytes.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 3));
  return packed;
}

constexpr UnitCodec kAll[] = {UnitCodec::kDeflate, UnitCodec::kZlib, UnitCodec::kZstd};

std::string failure(UnitCodec codec, Bytes packed, size_t room) {
  std::vector<uint8_t> out(room);
  try {
    decode_unit(codec, packed, out);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code::kCorruptCluster);
    return error.what();
  }
  return "";
}

TEST(Codec, AClusterUnpacksAndWhatFollowsItsStreamIsLeftAlone) {
  const auto plain = text(kUnit);
  for (const UnitCodec codec : kAll) {
    auto packed = pack(codec, plain);
    const size_t size = packed.size();
    packed.resize(size + 511, 0xA5);
    std::vector<uint8_t> out(kUnit);
    const DecodedUnit unit = decode_unit(codec, packed, out);
    EXPECT_EQ(unit.consumed, size);
    EXPECT_EQ(unit.produced, kUnit);
    EXPECT_EQ(out, plain);
  }
}

TEST(Codec, AShortClusterTellsHowMuchItGave) {
  const auto plain = text(1000);
  for (const UnitCodec codec : kAll) {
    std::vector<uint8_t> out(kUnit);
    const auto packed = pack(codec, plain);
    EXPECT_EQ(decode_unit(codec, packed, out).produced, plain.size());
    EXPECT_TRUE(std::equal(plain.begin(), plain.end(), out.begin()));
  }
}

TEST(Codec, DamagedOrCutStreamsAreCorruptClusters) {
  const auto plain = text(kUnit);
  for (const UnitCodec codec : kAll) {
    const auto packed = pack(codec, plain);
    EXPECT_NE(failure(codec, Bytes(packed).first(packed.size() / 2), kUnit), "");
    EXPECT_NE(failure(codec, {}, kUnit), "");
    EXPECT_NE(failure(codec, std::vector<uint8_t>(600, 0xFF), kUnit), "");
    EXPECT_NE(failure(codec, packed, kUnit - 1), "") << "more than the cluster holds";
  }
  auto packed = pack(UnitCodec::kZlib, plain);
  packed.back() ^= 1;
  EXPECT_NE(failure(UnitCodec::kZlib, packed, kUnit), "") << "wrong Adler-32";
}

TEST(Codec, AStreamThatUnpacksToTooMuchSaysHowMuchIsAllowed) {
  const auto packed = pack(UnitCodec::kDeflate, text(kUnit));
  EXPECT_NE(failure(UnitCodec::kDeflate, packed, 4096).find("more than 4096 bytes"), std::string::npos);
}

TEST(Codec, SeveralZstdFramesWithASkippableOneBetweenMakeOneCluster) {
  const auto plain = text(kUnit);
  auto packed = pack(UnitCodec::kZstd, Bytes(plain).first(1000));
  const std::vector<uint8_t> skippable = {0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3};
  packed.insert(packed.end(), skippable.begin(), skippable.end());
  const auto second = pack(UnitCodec::kZstd, Bytes(plain).subspan(1000));
  packed.insert(packed.end(), second.begin(), second.end());
  std::vector<uint8_t> out(kUnit);
  EXPECT_EQ(decode_unit(UnitCodec::kZstd, packed, out).consumed, packed.size());
  EXPECT_EQ(out, plain);
}

TEST(Codec, AZstdFrameThatNeedsADictionaryIsRefused) {
  // A frame header that names dictionary 7 (RFC 8878 3.1.1.1), one raw block of one byte.
  const std::vector<uint8_t> packed = {0x28, 0xB5, 0x2F, 0xFD, 0x21, 7, 1, 0x09, 0, 0, 'x'};
  EXPECT_NE(failure(UnitCodec::kZstd, packed, kUnit).find("dictionary"), std::string::npos);
}

TEST(Codec, Crc32ContinuesFromItsSeed) {
  const auto bytes = text(1000);
  EXPECT_EQ(crc32(0, std::vector<uint8_t>{'1', '2', '3', '4', '5', '6', '7', '8', '9'}), 0xCBF43926u);
  EXPECT_EQ(crc32(crc32(0, Bytes(bytes).first(333)), Bytes(bytes).subspan(333)), crc32(0, bytes));
}

TEST(Codec, TheLibrariesThatAnswerAreTheOnesBuiltAgainst) {
  const auto versions = library_versions();
  const auto version = [&](std::string_view name) {
    const auto found = std::find_if(versions.begin(), versions.end(), [&](const auto& v) { return v.name == name; });
    return found == versions.end() ? std::string("missing") : found->version;
  };
  EXPECT_EQ(version("libdeflate"), LIBDEFLATE_VERSION_STRING);
  EXPECT_EQ(version("libzstd"), ZSTD_VERSION_STRING);
  EXPECT_EQ(version("zlib"), zlibVersion());
  EXPECT_GE(version("liblzma"), "5.4");
  for (const char* name : {"bzip2", "isa-l", "openssl", "libgcrypt"}) EXPECT_NE(version(name), "missing") << name;
}

}  // namespace
}  // namespace dvcr
