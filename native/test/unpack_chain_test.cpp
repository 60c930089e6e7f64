// Layers around each other, what they say of the size, and that nothing behind them is left unread.
#include <gtest/gtest.h>

#include "unpack/unpack.h"
#include "unpack_inputs.h"

namespace dvcr::test {
namespace {

Buffer content_of(UnpackChain& chain) {
  Buffer content;
  for (Bytes next = chain.output().peek(); !next.empty(); next = chain.output().peek()) {
    content.insert(content.end(), next.begin(), next.end());
    chain.output().consume(next.size());
  }
  return content;
}

std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(error.code());
  }
  return "";
}

TEST(UnpackChain, LeavesUncompressedSourcesAsTheyAre) {
  Buffer content = sample_content(10'000);
  FileInMemory source(content);
  UnpackChain chain(source, {}, 2);
  EXPECT_TRUE(chain.compressions().empty());
  EXPECT_EQ(chain.size_hint(), std::nullopt);
  EXPECT_EQ(chain.output().size(), content.size());
  EXPECT_NE(chain.output().ranges(), nullptr);
  EXPECT_TRUE(content_of(chain) == content);
  MemorySource empty({});
  EXPECT_TRUE(UnpackChain(empty, {}, 1).output().peek().empty());
}

TEST(UnpackChain, UnpacksTwoLayersAndRefusesAThird) {
  Buffer content = sample_content(100'000);
  Buffer two = zstd_frame(xz_stream(content));
  for (size_t chunk : {1, 4096, 0}) {
    MemorySource source(two, chunk);
    UnpackChain chain(source, {}, 2);
    EXPECT_EQ(chain.compressions(), (std::vector{Compression::kZstd, Compression::kXz}));
    EXPECT_TRUE(content_of(chain) == content);
    chain.finish();
    EXPECT_TRUE(source.peek().empty());
  }
  Buffer three = gzip_member(two);
  MemorySource source(three);
  EXPECT_EQ(code_of([&] { UnpackChain(source, {}, 2); }), code::kNestedCompression);
  Limits none;
  none.max_compression_depth = 0;
  MemorySource single(two);
  EXPECT_EQ(code_of([&] { UnpackChain(single, none, 2); }), code::kNestedCompression);
}

TEST(UnpackChain, FinishReadsTheSourceToItsEnd) {
  Buffer content = sample_content(100'000);
  Buffer input = joined({gzip_member(content), Buffer(300'000)});
  MemorySource source(input, 4096);
  UnpackChain chain(source, {}, 1);
  Buffer first(1000);
  EXPECT_EQ(chain.output().read(first), first.size());
  chain.finish();
  EXPECT_TRUE(source.peek().empty());
  EXPECT_TRUE(chain.output().peek().empty());
}

TEST(UnpackChain, FinishNoticesWhatFollowsEachLayer) {
  Buffer content = sample_content(10'000);
  Buffer garbage{'g', 'a', 'r', 'b'};
  struct Case {
    Buffer input;
    std::string_view code;
  };
  Buffer cut = gzip_member(content);
  cut.resize(cut.size() - 1);
  for (const Case& test : {Case{gzip_member(xz_stream(content)), ""},
                           {joined({gzip_member(xz_stream(content)), garbage}), code::kTrailingData},
                           {gzip_member(joined({xz_stream(content), garbage})), code::kTrailingData},
                           {gzip_member(joined({xz_stream(content), Buffer(100)})), ""},
                           {cut, code::kTruncated}}) {
    MemorySource source(test.input);
    UnpackChain chain(source, {}, 1);
    Buffer out(content.size());
    EXPECT_EQ(chain.output().read(out), out.size());
    EXPECT_TRUE(out == content);
    EXPECT_EQ(code_of([&] { chain.finish(); }), test.code);
  }
}

std::optional<SizeHint> hint_of(Bytes input) {
  FileInMemory file(input);
  return UnpackChain(file, {}, 1).size_hint();
}

TEST(UnpackChain, DataBehindAGzipStreamIsLeftToWhoeverKnowsTheContent) {
  const Buffer content = sample_content(10'000);
  const Buffer stream = gzip_member(content);
  const Buffer input = joined({stream, Buffer{'F', 'W', 'x', '0'}});
  MemorySource source(input, 100);
  UnpackChain chain(source, {}, 1);
  chain.finish(true);
  ASSERT_TRUE(chain.trailing());
  EXPECT_EQ(chain.trailing()->at, stream.size());
  EXPECT_EQ(chain.trailing()->length, 4u);
  EXPECT_EQ(chain.trailing()->unpacked, content.size());
  EXPECT_EQ(code_of([&] { chain.finish(); }), code::kTrailingData);
  const Buffer twice = joined({gzip_member(xz_stream(content)), Buffer{'x'}});
  MemorySource outer(twice);
  UnpackChain two(outer, {}, 1);
  EXPECT_EQ(code_of([&] { two.finish(true); }), code::kTrailingData) << "only the innermost is known to be whole";
}

TEST(UnpackSizeHint, TellsTheSizeOfASingleStreamAndItsSource) {
  Buffer content = sample_content(300'000);
  auto gzip = hint_of(gzip_member(content));
  ASSERT_TRUE(gzip);
  EXPECT_EQ(gzip->size, content.size());
  EXPECT_EQ(gzip->from, "gzip-isize");
  EXPECT_FALSE(gzip->exact);
  auto zstd = hint_of(joined({zstd_skippable(4), zstd_skippable(1000), zstd_frame(content)}));
  ASSERT_TRUE(zstd);
  EXPECT_EQ(zstd->size, content.size());
  EXPECT_EQ(zstd->from, "zstd-frame");
  EXPECT_FALSE(zstd->exact);
  auto xz = hint_of(xz_blocks(content, 10'000));
  ASSERT_TRUE(xz);
  EXPECT_EQ(xz->size, content.size());
  EXPECT_EQ(xz->from, "xz-index");
  EXPECT_TRUE(xz->exact);
}

bool end_says(Bytes input, uint64_t size) {
  FileInMemory file(input);
  return UnpackChain(file, {}, 1).end_says(size);
}

TEST(UnpackSizeHint, TheEndOfAGzipFileConfirmsASizeModulo4GiB) {
  Buffer gzip = gzip_member(sample_content(300'000));
  EXPECT_TRUE(end_says(gzip, 300'000));
  EXPECT_TRUE(end_says(gzip, (uint64_t{7} << 32) + 300'000));
  EXPECT_FALSE(end_says(gzip, 300'001));
  EXPECT_FALSE(end_says(xz_stream(sample_content(300'000)), 300'000));
  MemorySource pipe(gzip);
  EXPECT_FALSE(UnpackChain(pipe, {}, 1).end_says(300'000)) << "a pipe's end cannot be asked for";
}

TEST(UnpackSizeHint, TheXzIndexesOfSeveralStreamsAreAddedUp) {
  Buffer content = sample_content(300'000);
  auto hint = hint_of(joined({xz_blocks(content, 10'000), Buffer(8), xz_stream(content), Buffer(4)}));
  ASSERT_TRUE(hint);
  EXPECT_EQ(hint->size, 2 * content.size());
  EXPECT_TRUE(hint->exact);
}

TEST(UnpackSizeHint, SaysNothingRatherThanSomethingImpossible) {
  Buffer content = sample_content(300'000);
  Buffer gzip = gzip_member(content);
  Buffer xz = xz_stream(content);
  EXPECT_EQ(hint_of(joined({gzip, Buffer(8)})), std::nullopt);               // padded
  EXPECT_EQ(hint_of(joined({gzip, gzip_member({})})), std::nullopt);         // the last member is empty
  EXPECT_EQ(hint_of(joined({gzip, gzip_member(Buffer(9))})), std::nullopt);  // less than is packed
  EXPECT_EQ(hint_of(joined({gzip, Buffer(4, 0xff)})), std::nullopt);         // more than deflate can give
  EXPECT_EQ(hint_of(zstd_frame(content, 0, false)), std::nullopt);
  EXPECT_EQ(hint_of(bzip2_stream(content)), std::nullopt);
  EXPECT_EQ(hint_of(joined({xz, Buffer{'x', 'y', 'z', '!'}})), std::nullopt);
  EXPECT_EQ(hint_of(Bytes(xz).first(xz.size() - 4)), std::nullopt);
  Buffer many;
  for (int i = 0; i < 2000; ++i) {
    Buffer one = xz_stream(Bytes(content).first(100));
    many.insert(many.end(), one.begin(), one.end());
    many.resize(many.size() + 40'000);
  }
  EXPECT_EQ(hint_of(many), std::nullopt);  // would take thousands of reads
}

TEST(UnpackSizeHint, ConsumesNothingAndNeedsRandomAccessForGzipAndXz) {
  Buffer content = sample_content(30'000);
  for (Compression compression : {Compression::kGzip, Compression::kXz, Compression::kZstd}) {
    Buffer input = packed(compression, content);
    FileInMemory file(input);
    PrefixSource inner(file);
    EXPECT_TRUE(unpacked_size_hint(compression, inner, {}).has_value());
    Buffer all(input.size());
    EXPECT_EQ(inner.read(all), input.size());
    EXPECT_TRUE(all == input);
    MemorySource stream(input);
    PrefixSource forward(stream);
    EXPECT_EQ(unpacked_size_hint(compression, forward, {}).has_value(), compression == Compression::kZstd);
  }
}

TEST(UnpackSizeHint, OfTwoLayersOnlyTheInnerOneCounts) {
  Buffer content = sample_content(30'000);
  auto hint = hint_of(gzip_member(zstd_frame(content)));
  ASSERT_TRUE(hint);
  EXPECT_EQ(hint->size, content.size());
  EXPECT_EQ(hint->from, "zstd-frame");
  EXPECT_EQ(hint_of(zstd_frame(xz_stream(content))), std::nullopt);
}

TEST(PrefixSource, CanBeAskedAgainInTheMiddle) {
  Buffer content = sample_content(100);
  MemorySource source(content, 3);
  PrefixSource prefixed(source);
  EXPECT_EQ(prefixed.prefix(10).size(), 10U);
  prefixed.consume(4);
  Bytes next = prefixed.prefix(20);
  ASSERT_EQ(next.size(), 20U);
  EXPECT_TRUE(std::equal(next.begin(), next.end(), content.begin() + 4));
  Buffer rest(200);
  EXPECT_EQ(prefixed.read(rest), 96U);
  EXPECT_TRUE(std::equal(content.begin() + 4, content.end(), rest.begin()));
}

}  // namespace
}  // namespace dvcr::test
