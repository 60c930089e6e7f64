// Snappy's framing format: unpacked only where it was declared, every chunk checked.
#include <gtest/gtest.h>

#include <set>

#include "unpack/unpack.h"
#include "unpack_inputs.h"

namespace dvcr::test {
namespace {

const Buffer kIdentifier{0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'};
constexpr Compression kKind = Compression::kSnappy;

TEST(Snappy, GivesTheSameBytesForEveryChunkAndReadSize) {
  Buffer content = sample_content(150'000);
  Buffer input = joined({packed(kKind, content), packed(kKind, {}), packed(kKind, content)});
  Buffer expected = joined({content, content});
  for (size_t chunk : {1, 7, 4096, 0}) {
    for (size_t read_size : {0, 1, 4096, 1 << 20}) {
      Unpacked result = unpack(kKind, input, chunk, read_size);
      EXPECT_EQ(result.code, "") << result.message;
      EXPECT_TRUE(result.content == expected) << "chunk " << chunk << ", read size " << read_size;
    }
  }
}

TEST(Snappy, ReadsAStreamThatOtherImplementationsTestWith) {
  Buffer input = joined({kIdentifier, {0x01, 8, 0, 0, 0x68, 0x10, 0xe6, 0xb6, 'a', 'b', 'c', 'd'}});
  Unpacked result = unpack(kKind, input);
  EXPECT_EQ(result.code, "") << result.message;
  EXPECT_EQ(result.content, (Buffer{'a', 'b', 'c', 'd'}));
}

TEST(Snappy, UncompressedChunksAndPaddingAreUnderstood) {
  Buffer content = sample_content(1000);
  Buffer padding{0xfe, 3, 0, 0, 1, 2, 3};
  Buffer unknown{0x80, 1, 0, 0, 9};
  Buffer empty{0xfd, 0, 0, 0};
  Buffer input = joined({kIdentifier, padding, snappy_chunk(1, content, content), unknown, empty, kIdentifier});
  for (size_t chunk : {1, 0}) {
    Unpacked result = unpack(kKind, input, chunk);
    EXPECT_EQ(result.code, "") << result.message;
    EXPECT_TRUE(result.content == content);
  }
}

TEST(Snappy, AnEarlyEndWithinAChunkIsTruncated) {
  Buffer content = sample_content(700);
  Buffer input = packed(kKind, content);
  for (size_t size = 0; size < input.size(); ++size) {
    Unpacked result = unpack(kKind, Bytes(input).first(size));
    if (size == kIdentifier.size()) {
      EXPECT_EQ(result.code, "");  // between chunks it cannot be told
    } else {
      ASSERT_EQ(result.code, code::kTruncated) << size << " of " << input.size() << ": " << result.message;
    }
  }
}

TEST(Snappy, NoFlippedBitChangesTheContentUnnoticed) {
  Buffer content = sample_content(300);
  Buffer input = joined({packed(kKind, content), snappy_chunk(1, content, content)});
  Buffer expected = joined({content, content});
  const std::set<std::string_view> allowed{code::kCorruptCompression, code::kTruncated};
  for (size_t bit = 0; bit < input.size() * 8; ++bit) {
    Buffer flipped = input;
    flipped[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
    Unpacked result = unpack(kKind, flipped);
    if (result.code.empty()) {
      // A chunk's type may become one to be skipped: the format has nothing against the loss of whole chunks.
      ASSERT_TRUE(result.content == expected || result.content == content) << "bit " << bit;
    } else {
      ASSERT_EQ(allowed.count(result.code), 1U) << result.code << ": " << result.message;
    }
  }
}

TEST(Snappy, LengthsThatNoChunkHasAreRefusedBeforeTheyAreRead) {
  const Buffer hostile[] = {
      {0x00, 0xff, 0xff, 0xff},                                   // 16 MiB of compressed data
      {0x01, 5, 0, 1, 0},                                         // 64 KiB and one byte
      {0x00, 3, 0, 0, 1, 2, 3},                                   // no room for the checksum
      {0x00, 9, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},  // says that it unpacks to 4 GiB
      {0x02, 0, 0, 0},                                            // reserved, not to be skipped
      {0xff, 5, 0, 0, 's', 'N', 'a', 'P', 'p'},
      {0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'X'},
      {0x00, 0, 0, 0},  // zeros after the end are no padding of this format
  };
  for (const Buffer& chunk : hostile) {
    Unpacked result = unpack(kKind, joined({kIdentifier, chunk}));
    EXPECT_EQ(result.code, code::kCorruptCompression) << result.message;
    EXPECT_TRUE(result.content.empty());
  }
  EXPECT_EQ(unpack(kKind, sample_content(100)).code, code::kCorruptCompression);
}

TEST(Snappy, IsUnpackedOnlyWhereItWasDeclaredAndThenAlone) {
  Buffer inner = packed(Compression::kGzip, sample_content(1000));
  Buffer input = packed(kKind, inner);
  EXPECT_EQ(detect_compression(input), Compression::kNone);
  MemorySource source(input);
  UnpackChain chain(source, {}, 1, kKind);
  EXPECT_EQ(chain.compressions(), std::vector{kKind});
  Buffer out(inner.size());
  EXPECT_EQ(chain.output().read(out), inner.size());
  EXPECT_TRUE(out == inner) << "what it holds is taken as it is";
}

}  // namespace
}  // namespace dvcr::test
