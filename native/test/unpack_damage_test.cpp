// What damaged, truncated, oversized and foreign compressed inputs give: always the right error, at the right moment.
#include <gtest/gtest.h>

#include <set>

#include "unpack/unpack.h"
#include "unpack_inputs.h"

namespace dvcr::test {
namespace {

class EveryDamagedFormat : public testing::TestWithParam<Compression> {};

INSTANTIATE_TEST_SUITE_P(Unpack, EveryDamagedFormat,
                         testing::Values(Compression::kGzip, Compression::kXz, Compression::kZstd, Compression::kBzip2),
                         [](const auto& test) { return std::string(compression_name(test.param)); });

TEST_P(EveryDamagedFormat, AnEarlyEndAtAnyByteIsTruncated) {
  Buffer content = sample_content(700);
  Buffer input = packed(GetParam(), content);
  for (size_t size = 0; size < input.size(); ++size) {
    for (size_t read_size : {0, 5000}) {
      Unpacked result = unpack(GetParam(), Bytes(input).first(size), 0, read_size, 2);
      ASSERT_EQ(result.code, code::kTruncated) << size << " of " << input.size() << ": " << result.message;
    }
  }
  // The same in a second stream: everything before the cut is delivered, the start of a magic is no trailing data.
  for (size_t size = 1; size < input.size(); ++size) {
    Buffer two = joined({input, Buffer(input.begin(), input.begin() + static_cast<ptrdiff_t>(size))});
    Unpacked result = unpack(GetParam(), two, 64);
    ASSERT_EQ(result.code, code::kTruncated) << size << ": " << result.message;
    ASSERT_GE(result.content.size(), content.size());
  }
}

TEST_P(EveryDamagedFormat, NoFlippedBitChangesTheContentUnnoticed) {
  Buffer content = sample_content(300);
  Buffer input = packed(GetParam(), content);
  const std::set<std::string_view> allowed{code::kCorruptCompression, code::kTruncated, code::kTrailingData,
                                           code::kDecoderMemory, code::kUnsupportedFeature};
  unsigned noticed = 0;
  for (size_t bit = 0; bit < input.size() * 8; ++bit) {
    Buffer flipped = input;
    flipped[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
    Unpacked result = unpack(GetParam(), flipped, 0, 0, 2);
    if (result.code.empty()) {
      ASSERT_TRUE(result.content == content) << "bit " << bit;
    } else {
      ASSERT_EQ(allowed.count(result.code), 1U) << result.code << ": " << result.message;
      ++noticed;
    }
  }
  EXPECT_GT(noticed, input.size() * 4);
}

TEST_P(EveryDamagedFormat, DataAfterTheEndIsAnError) {
  Buffer content = sample_content(5000);
  Buffer stream = packed(GetParam(), content);
  for (const Buffer& tail : {Buffer{'x'}, Buffer{0, 'x'}, joined({Buffer(100'000), Buffer{1}}), Buffer(100, 0xff),
                             Buffer{0x1f, 0x8b, 0x00}, Buffer{'B', 'Z', 'i'}}) {
    for (size_t chunk : {1, 0}) {
      Unpacked result = unpack(GetParam(), joined({stream, tail}), chunk);
      EXPECT_EQ(result.code, code::kTrailingData) << result.message;
      EXPECT_TRUE(result.content == content);
    }
  }
}

TEST_P(EveryDamagedFormat, AReadThatReachesTheDamageThrowsAndKeepsThrowing) {
  Buffer content = sample_content(5000);
  Buffer input = packed(GetParam(), content);
  input.resize(input.size() - 3);
  MemorySource source(input);
  PrefixSource inner(source);
  auto unpacker = make_unpacker(GetParam(), inner, {}, 1);
  Buffer out(content.size() + 1);
  EXPECT_THROW(unpacker->read(out), Error);
  EXPECT_THROW(unpacker->read(out), Error);
  EXPECT_THROW(unpacker->peek(), Error);
}

TEST_P(EveryDamagedFormat, AStreamWithoutTheMagicIsDamaged) {
  EXPECT_EQ(unpack(GetParam(), sample_content(100)).code, code::kCorruptCompression);
}

TEST(UnpackDamage, ThreadsChangeNeitherTheBytesNorTheError) {
  Buffer content = sample_content(2'000'000);
  Buffer whole = xz_blocks(content, 200'000);
  Buffer damaged = whole;
  damaged[damaged.size() * 2 / 3] ^= 1;
  Buffer cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(whole.size() / 2));
  for (const Buffer& input : {whole, damaged, cut, joined({whole, Buffer{'x'}})}) {
    Unpacked expected = unpack(Compression::kXz, input, 0, 0, 1);
    for (size_t chunk : {1000, 0}) {
      Unpacked result = unpack(Compression::kXz, input, chunk, 0, 3);
      EXPECT_EQ(result.code, expected.code) << result.message;
      EXPECT_EQ(result.content.size(), expected.content.size());
      EXPECT_TRUE(result.content == expected.content);
    }
  }
}

TEST(UnpackDamage, AnXzDictionaryAboveTheLimitIsRefusedWithItsSize) {
  Buffer input = xz_stream(sample_content(1000), 512 << 20);
  for (unsigned threads : {1U, 4U}) {
    Unpacked result = unpack(Compression::kXz, input, 0, 0, threads);
    EXPECT_EQ(result.code, code::kDecoderMemory);
    EXPECT_NE(result.message.find("513 MiB"), std::string::npos) << result.message;
    EXPECT_NE(result.message.find("256 MiB"), std::string::npos) << result.message;
  }
  Limits more;
  more.max_decoder_memory = 1 * kGiB;
  EXPECT_EQ(unpack(Compression::kXz, input, 0, 0, 2, more).code, "");
}

TEST(UnpackDamage, AnXzBlockTooLargeForThreadsIsDecodedWithoutThem) {
  Buffer content = sample_content(2'000'000);
  Limits tight;
  tight.max_decoder_memory = 1 * kMiB;  // the dictionary of level 0 alone takes 256 KiB
  EXPECT_TRUE(unpack(Compression::kXz, xz_blocks(content, 1'500'000), 0, 0, 4, tight).content == content);
}

TEST(UnpackDamage, AZstdWindowAboveTheLimitIsRefusedWithItsSize) {
  Buffer content = sample_content(100'000);
  EXPECT_EQ(unpack(Compression::kZstd, zstd_frame(content, 27, false)).code, "");
  Unpacked result = unpack(Compression::kZstd, zstd_frame(content, 30, false));
  EXPECT_EQ(result.code, code::kDecoderMemory);
  EXPECT_NE(result.message.find("1024 MiB"), std::string::npos) << result.message;
  // Also in a later frame, after the content of the first.
  result = unpack(Compression::kZstd, joined({zstd_frame(content), zstd_frame(content, 28, false)}));
  EXPECT_EQ(result.code, code::kDecoderMemory);
  EXPECT_TRUE(result.content == content);
  Limits tight;
  tight.max_decoder_memory = 2 * kMiB;
  EXPECT_EQ(unpack(Compression::kZstd, zstd_frame(content, 20, false), 0, 0, 1, tight).code, "");
  EXPECT_EQ(unpack(Compression::kZstd, zstd_frame(content, 21, false), 0, 0, 1, tight).code, code::kDecoderMemory);
}

TEST(UnpackDamage, AZstdFrameThatNeedsADictionaryIsRefused) {
  // Magic, descriptor (window and a one-byte dictionary id), window 1 KiB, id 9, an empty last block.
  const Buffer frame{0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x00, 0x09, 0x01, 0x00, 0x00};
  Unpacked result = unpack(Compression::kZstd, frame);
  EXPECT_EQ(result.code, code::kCorruptCompression);
  EXPECT_NE(result.message.find("dictionary 9"), std::string::npos) << result.message;
}

TEST(UnpackDamage, AnXzCheckOfUnknownTypeIsUnsupported) {
  Buffer input = xz_stream(sample_content(100));
  input[7] = 0x05;  // a reserved check; the header's CRC-32 has to fit it
  uint32_t crc = 0xffffffff;
  for (size_t i = 6; i < 8; ++i) {
    crc ^= input[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320U & (0U - (crc & 1U)));
  }
  for (unsigned i = 0; i < 4; ++i) input[8 + i] = static_cast<uint8_t>(~crc >> 8 * i);
  EXPECT_EQ(unpack(Compression::kXz, input).code, code::kUnsupportedFeature);
}

}  // namespace
}  // namespace dvcr::test
