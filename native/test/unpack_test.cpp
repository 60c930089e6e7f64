// What sound compressed inputs give, however they were made and however they arrive.
#include "unpack/unpack.h"

#include <gtest/gtest.h>

#include "unpack_inputs.h"

namespace dvcr::test {
namespace {

struct Format {
  Compression compression;
  const char* tool;
};

class EveryFormat : public testing::TestWithParam<Format> {
 protected:
  [[nodiscard]] static Compression kind() { return GetParam().compression; }
};

INSTANTIATE_TEST_SUITE_P(Unpack, EveryFormat,
                         testing::Values(Format{Compression::kGzip, "gzip -c"}, Format{Compression::kXz, "xz -c -0"},
                                         Format{Compression::kZstd, "zstd -q -c"},
                                         Format{Compression::kBzip2, "bzip2 -c"}),
                         [](const auto& test) { return std::string(compression_name(test.param.compression)); });

TEST_P(EveryFormat, GivesTheSameBytesForEveryChunkAndReadSize) {
  Buffer content = sample_content(150'000);
  Buffer input = joined({packed(kind(), content), packed(kind(), {}), packed(kind(), content)});
  Buffer expected = joined({content, content});
  for (size_t chunk : {1, 7, 4096, 0}) {
    for (size_t read_size : {0, 1, 4096, 1 << 20}) {
      Unpacked result = unpack(kind(), input, chunk, read_size, 2);
      EXPECT_EQ(result.code, "") << result.message;
      EXPECT_TRUE(result.content == expected) << "chunk " << chunk << ", read size " << read_size;
    }
  }
}

TEST_P(EveryFormat, ReadsWhatTheUsualToolWrote) {
  Buffer content = sample_content(3'000'000);
  Buffer input = run_tool(GetParam().tool, content);
  EXPECT_EQ(detect_compression(input), kind());
  for (size_t chunk : {7, 4096, 0}) {
    Unpacked result = unpack(kind(), input, chunk, 1 << 16);
    EXPECT_EQ(result.code, "");
    EXPECT_TRUE(result.content == content) << chunk;
  }
}

TEST_P(EveryFormat, ReadAfterPeekGoesOnWherePeekStopped) {
  Buffer content = sample_content(600'000);
  Buffer input = packed(kind(), content);
  MemorySource source(input);
  PrefixSource inner(source);
  auto unpacker = make_unpacker(kind(), inner, {}, 1);
  Buffer all(unpacker->peek().begin(), unpacker->peek().begin() + 1000);
  unpacker->consume(1000);
  all.resize(content.size());
  EXPECT_EQ(unpacker->read(MutableBytes(all).subspan(1000)), content.size() - 1000);
  EXPECT_TRUE(all == content);
  EXPECT_TRUE(unpacker->peek().empty());
  EXPECT_EQ(unpacker->read(all), 0U);
  EXPECT_EQ(unpacker->size(), std::nullopt);
  EXPECT_EQ(unpacker->ranges(), nullptr);
}

TEST_P(EveryFormat, AcceptsAnyAmountOfZerosAfterTheLastStream) {
  Buffer content = sample_content(5000);
  for (size_t zeros : {1, 4, 5, 511, 1 << 20}) {
    if (kind() == Compression::kXz) zeros *= 4;
    Buffer input = joined({packed(kind(), content), Buffer(zeros)});
    for (size_t chunk : {4096, 0}) {
      Unpacked result = unpack(kind(), input, chunk);
      EXPECT_EQ(result.code, "") << zeros << " zeros: " << result.message;
      EXPECT_TRUE(result.content == content);
    }
  }
}

TEST_P(EveryFormat, EmptyContentIsFine) {
  for (const Buffer& input : {packed(kind(), {}), run_tool(GetParam().tool, {})}) {
    Unpacked result = unpack(kind(), input, 1);
    EXPECT_EQ(result.code, "") << result.message;
    EXPECT_TRUE(result.content.empty());
  }
}

TEST(Unpack, ReadsThreadedAndBlockedFilesOfTheTools) {
  Buffer content = sample_content(2'000'000);
  struct Case {
    Compression compression;
    const char* tool;
  };
  for (const Case& made : {Case{Compression::kGzip, "pigz -c -p 2 -b 128"},
                           {Compression::kGzip, "pigz -c -p 2 -i -1"},
                           {Compression::kXz, "xz -c -0 -T2 --block-size=300000"},
                           {Compression::kXz, "xz -c -0 -T1 --block-size=300000"},
                           {Compression::kXz, "xz -c -0 --check=none --x86 --lzma2"},
                           {Compression::kXz, "xz -c -0 --check=sha256"},
                           {Compression::kZstd, "zstd -q -c -T2 --long=27 --check"}}) {
    Buffer input = run_tool(made.tool, content);
    for (unsigned threads : {1U, 3U}) {
      for (size_t chunk : {4096, 0}) {
        Unpacked result = unpack(made.compression, input, chunk, 100'000, threads);
        EXPECT_EQ(result.code, "") << made.tool << ": " << result.message;
        EXPECT_TRUE(result.content == content) << made.tool;
      }
    }
  }
}

TEST(Unpack, ReadsManySmallMembersAsBlockGzipHas) {
  Buffer content = sample_content(300'000);
  Buffer input;
  for (size_t at = 0; at < content.size(); at += 1000) {
    Buffer member = gzip_member(Bytes(content).subspan(at, 1000));
    input.insert(input.end(), member.begin(), member.end());
  }
  EXPECT_TRUE(unpack(Compression::kGzip, input, 4096).content == content);
}

TEST(Unpack, XzStreamsMayHavePaddingOfFourBytesBetweenThem) {
  Buffer content = sample_content(5000);
  Buffer stream = xz_stream(content);
  Buffer expected = joined({content, content});
  EXPECT_TRUE(unpack(Compression::kXz, joined({stream, Buffer(8), stream, Buffer(4)}), 1).content == expected);
  EXPECT_EQ(unpack(Compression::kXz, joined({stream, Buffer(6), stream})).code, code::kTrailingData);
  EXPECT_EQ(unpack(Compression::kGzip, joined({gzip_member(content), Buffer(4), gzip_member(content)})).code,
            code::kTrailingData);
}

TEST(Unpack, XzPaddingOfOddLengthIsRefusedAsXzDoes) {
  const Buffer content = sample_content(5000);
  const Buffer stream = xz_stream(content);
  for (size_t padding = 0; padding < 9; ++padding) {
    const Buffer input = joined({stream, Buffer(padding)});
    bool xz_takes_it = true;
    try {
      run_tool("xz -dc", input);
    } catch (const std::runtime_error&) {
      xz_takes_it = false;
    }
    EXPECT_EQ(xz_takes_it, padding % 4 == 0);
    EXPECT_EQ(unpack(Compression::kXz, input, 7).code, xz_takes_it ? "" : code::kCorruptCompression) << padding;
  }
}

/// The end of an Apple disk image: its property list, then the trailer.
Buffer apple_end() {
  Buffer end(3000, '<');
  Buffer trailer(512);
  const std::string_view koly("koly\0\0\0\4\0\0\2\0", 12);
  std::copy(koly.begin(), koly.end(), trailer.begin());
  end.insert(end.end(), trailer.begin(), trailer.end());
  return end;
}

TEST(Unpack, AnAppleDiskImageWhoseFirstChunkIsPackedIsRefusedAsOne) {
  const Buffer content = sample_content(5000);
  for (Compression compression : {Compression::kBzip2, Compression::kXz, Compression::kGzip}) {
    const Buffer chunk = packed(compression, content);
    for (const Buffer& image : {joined({chunk, apple_end()}), joined({chunk, chunk, Buffer(100, 7), apple_end()})}) {
      for (size_t size : {size_t{100}, size_t{0}}) {
        EXPECT_EQ(unpack(compression, image, size).code, code::kUnsupportedFormat);
      }
    }
  }
}

TEST(Unpack, SkipsSkippableZstdFramesAnywhere) {
  Buffer content = sample_content(5000);
  Buffer input = joined({zstd_skippable(0), zstd_skippable(4), zstd_frame(content), zstd_skippable(100'000)});
  EXPECT_EQ(detect_compression(input), Compression::kZstd);
  for (size_t chunk : {1, 0}) {
    Unpacked result = unpack(Compression::kZstd, input, chunk);
    EXPECT_EQ(result.code, "") << result.message;
    EXPECT_TRUE(result.content == content);
  }
}

TEST(Unpack, RecognisesByContentOnly) {
  EXPECT_EQ(detect_compression(gzip_member({})), Compression::kGzip);
  EXPECT_EQ(detect_compression(xz_stream({})), Compression::kXz);
  EXPECT_EQ(detect_compression(zstd_frame({})), Compression::kZstd);
  EXPECT_EQ(detect_compression(bzip2_stream({})), Compression::kBzip2);
  EXPECT_EQ(detect_compression(bzip2_stream(sample_content(10))), Compression::kBzip2);
  EXPECT_EQ(detect_compression({}), Compression::kNone);
  EXPECT_EQ(detect_compression(Bytes(xz_stream({})).first(5)), Compression::kNone);
  EXPECT_EQ(detect_compression(Buffer{'B', 'Z', 'h', '9', 'h', 'e', 'l', 'l', 'o'}), Compression::kNone);
  EXPECT_EQ(detect_compression(Buffer{'Q', 'F', 'I', 0xfb, 0, 0, 0, 3}), Compression::kNone);
}

}  // namespace
}  // namespace dvcr::test
