// Disks whose size is not known, or wrongly, when their first byte comes.
#include <gtest/gtest.h>

#include "layer_fixture.h"

namespace dvcr {
namespace {

using namespace test;

LayerOptions with(LayerCodec codec) {
  return {codec, 2, false, testing::TempDir()};
}

std::string begin_text(uint64_t size, const char* from, unsigned attempt) {
  return std::to_string(size) + " " + from + " " + std::to_string(attempt);
}

TEST(LayerSize, EveryWayToKnowTheSizeGivesTheSameLayer) {
  const Disk disk = mixed_disk();
  const uint64_t size = disk.content().size();
  using Begins = std::vector<std::string>;
  for (const LayerCodec codec : kCodecs) {
    const Data layer = build(disk, with(codec), exact(disk)).layer;
    const Built right = build(disk, with(codec), {size, false, "gpt"}, 1);
    EXPECT_TRUE(right.layer == layer);
    EXPECT_EQ(right.begins, Begins{begin_text(size, "gpt", 1)});
    EXPECT_EQ(right.result.size_from, "gpt");
    for (const uint64_t wrong : {size + 1, size - 1, uint64_t{100}}) {
      const Built built = build(disk, with(codec), {wrong, false, "gpt"}, 2);
      EXPECT_TRUE(built.layer == layer) << wrong << " " << encoder_id(codec);
      EXPECT_EQ(built.begins, (Begins{begin_text(wrong, "gpt", 1), begin_text(size, "counted", 2)}));
      EXPECT_EQ(built.result.digest, sha256(layer));
      EXPECT_EQ(built.result.diff_id, sha256(tar_of(disk.content())));
    }
    const Built counted = build(disk, with(codec), {std::nullopt, false, "counted"}, 3);
    EXPECT_TRUE(counted.layer == layer);
    EXPECT_EQ(counted.begins, Begins{begin_text(size, "counted", 1)});
    EXPECT_EQ(counted.result.size_from, "counted");
    EXPECT_EQ(counted.result.layer_size, layer.size());
  }
}

TEST(LayerSize, WhatIsKeptIsCompressedEvenForAPlainLayer) {
  Disk disk;
  disk.data(make_data(4 * kMiB, 1, Look::kText)).zeros(60 * kMiB);
  for (const LayerCodec codec : kCodecs) {
    const Built built = build(disk, with(codec), {std::nullopt, false, "counted"});
    EXPECT_GT(built.scratch_peak, 100 * kKiB);
    EXPECT_LT(built.scratch_peak, 3 * kMiB) << encoder_id(codec);
  }
}

TEST(LayerSize, AFullScratchEndsTheImport) {
  Disk disk;
  disk.data(make_data(4 * kMiB, 1, Look::kRandom));
  ScratchBudget budget(kMiB);
  MemoryOutput output;
  LayerBuilder builder(with(LayerCodec::kGzip), Limits{}, budget, output,
                       [](uint64_t size, std::string_view, unsigned) { return tar_frame(size); });
  EXPECT_EQ(error_code([&] {
              builder.start({std::nullopt, false, "counted"});
              feed(builder, disk, 0);
              builder.finish();
            }),
            code::kScratchLimit);
}

TEST(LayerSize, AReplayableSourceWithAWrongHintIsToldTheRightSize) {
  Disk disk;
  disk.data(make_data(3 * kMiB, 1, Look::kText)).zeros(5 * kMiB + 3).unit(UnitCodec::kZlib, Data(512));
  for (const uint64_t hint : {1 * kMiB, 5 * kMiB, 64 * kMiB}) {
    try {
      build(disk, with(LayerCodec::kGzip), {hint, false, "gzip-isize", false}, 1);
      FAIL() << hint;
    } catch (const SizeHintWrong& error) {
      EXPECT_EQ(error.actual, disk.content().size());
    }
  }
  const Built right = build(disk, with(LayerCodec::kGzip), {disk.content().size(), false, "gzip-isize", false});
  EXPECT_EQ(right.scratch_peak, 0u);
}

TEST(LayerSize, AnExactSizeThatIsNotMetIsAnError) {
  Disk disk;
  disk.data(make_data(3 * kMiB, 1, Look::kText));
  for (const uint64_t size : {3 * kMiB - 1, 3 * kMiB + 1}) {
    EXPECT_EQ(error_code([&] {
                build(disk, with(LayerCodec::kZstd), {size, true, "content-length"});
              }),
              code::kSizeMismatch);
  }
}

TEST(LayerSize, ADiskThatGrowsBeyondTheLimitIsTooLarge) {
  Limits limits;
  limits.max_virtual_size = 10 * kMiB;
  ScratchBudget budget(kGiB);
  MemoryOutput output;
  LayerBuilder builder(with(LayerCodec::kGzip), limits, budget, output,
                       [](uint64_t size, std::string_view, unsigned) { return tar_frame(size); });
  builder.start({std::nullopt, false, "counted"});
  builder.zero(10 * kMiB);
  EXPECT_EQ(error_code([&] { builder.zero(1); }), code::kTooLarge);
  EXPECT_EQ(error_code([&] { builder.finish(); }), code::kTooLarge) << "the first error stays";
}

}  // namespace
}  // namespace dvcr
