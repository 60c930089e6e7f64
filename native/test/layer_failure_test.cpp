// How an import ends early: damaged clusters, an output that fails, cancellation.
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>

#include "layer_fixture.h"

namespace dvcr {
namespace {

using namespace test;

LayerOptions with(LayerCodec codec, bool allow_nested = false) {
  return {codec, 2, allow_nested, testing::TempDir()};
}

TEST(LayerFailure, ADamagedClusterIsNamedByItsPlaceInTheFile) {
  const auto failure = [](const std::function<void(Disk::Step&)>& damage, LayerCodec codec, size_t before) {
    Disk disk;
    disk.zeros(before).unit(UnitCodec::kDeflate, make_data(64 * kKiB, 1, Look::kText));
    disk.last().unit.host_offset = 123456789;
    damage(disk.last());
    disk.data(make_data(20 * kMiB, 2, Look::kRandom));
    try {
      build(disk, with(codec), exact(disk));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code::kCorruptCluster);
      return std::string(error.what());
    }
    return std::string();
  };
  for (const LayerCodec codec : kCodecs) {
    for (const size_t before : {size_t{0}, size_t{kMiB - 512}}) {  // the second lies across two windows
      const std::string cut = failure([](Disk::Step& step) { step.unit.packed_size /= 2; }, codec, before);
      EXPECT_NE(cut.find("123456789"), std::string::npos) << cut;
      const std::string little = failure(
          [](Disk::Step& step) {
            step.packed = pack(UnitCodec::kDeflate, Data(1000, 1)), step.unit.packed_size = step.packed.size();
          },
          codec, before);
      EXPECT_NE(little.find("1000 bytes"), std::string::npos) << little;
    }
  }
}

TEST(LayerFailure, AnImageWithinTheDiskIsRefusedUnlessAllowed) {
  Disk disk;
  Data content(20 * kMiB);
  const Data qed_header = {'Q', 'E', 'D', 0};
  std::copy(qed_header.begin(), qed_header.end(), content.begin());
  disk.data(content);
  EXPECT_EQ(error_code([&] { build(disk, with(LayerCodec::kGzip), exact(disk)); }), code::kNested);
  EXPECT_EQ(error_code([&] { build(disk, with(LayerCodec::kNone), {std::nullopt, false, ""}); }), code::kNested);
  EXPECT_EQ(error_code([&] { build(disk, with(LayerCodec::kGzip, true), exact(disk)); }), "");
}

TEST(LayerFailure, AnErrorOfTheOutputComesBackFromTheNextCalls) {
  Disk disk;
  disk.data(make_data(30 * kMiB, 2, Look::kRandom));
  for (const LayerCodec codec : kCodecs) {
    const auto full = [](size_t written) {
      if (written > 4 * kMiB) throw Error(code::kScratchIo, "the registry is full");
    };
    EXPECT_EQ(error_code([&] { build(disk, with(codec), exact(disk), 0, full); }), code::kScratchIo);
    const auto broken = [](size_t) { throw std::runtime_error("not an Error"); };
    EXPECT_EQ(error_code([&] { build(disk, with(codec), exact(disk), 0, broken); }), code::kInternal);
  }
}

TEST(LayerFailure, AnErrorOfTheObserverEndsTheImport) {
  struct Refusing : UnitObserver {
    void unit_decoded(uint64_t, size_t) override { throw Error(code::kOverlap, "two clusters share bytes"); }
  } observer;
  Disk disk;
  disk.unit(UnitCodec::kZlib, make_data(64 * kKiB, 1, Look::kText));
  disk.last().unit.observer = &observer;
  disk.data(Data(30 * kMiB, 1));
  EXPECT_EQ(error_code([&] { build(disk, with(LayerCodec::kGzip), exact(disk)); }), code::kOverlap);
}

/// Takes nothing until it is closed.
class StuckOutput : public LayerOutput {
 public:
  void write(Bytes) override {
    std::unique_lock lock(mutex_);
    stuck_.set_value();
    closed_.wait(lock, [&] { return is_closed_; });
    throw Error(code::kCancelled, "closed");
  }
  void close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    closed_.notify_all();
  }
  std::future<void> stuck() { return stuck_.get_future(); }

 private:
  std::mutex mutex_;
  std::condition_variable closed_;
  std::promise<void> stuck_;
  bool is_closed_ = false;
};

TEST(LayerFailure, CancelWakesACallThatWaitsForASlowOutput) {
  Disk disk;
  disk.data(make_data(60 * kMiB, 2, Look::kRandom));
  StuckOutput output;
  ScratchBudget budget(kGiB);
  LayerBuilder builder(with(LayerCodec::kGzip), Limits{}, budget, output,
                       [](uint64_t size, std::string_view, unsigned) { return tar_frame(size); });
  auto code = std::async(std::launch::async, [&] {
    return error_code([&] {
      builder.start(exact(disk));
      feed(builder, disk, 0);
      builder.finish();
    });
  });
  output.stuck().wait();
  builder.cancel();
  EXPECT_EQ(code.get(), code::kCancelled);
  EXPECT_LT(builder.disk_bytes(), 30 * kMiB) << "windows in flight are bounded";
  output.close();
}

TEST(LayerFailure, CancelEndsARunOfZerosOfAnyLength) {
  for (const LayerCodec codec : kCodecs) {
    struct Counter : LayerOutput {
      void write(Bytes bytes) override { written += bytes.size(); }
      uint64_t written = 0;
    } output;
    ScratchBudget budget(0);
    {
      LayerBuilder builder(with(codec), Limits{}, budget, output,
                           [](uint64_t size, std::string_view, unsigned) { return tar_frame(size); });
      builder.start({50 * kTiB, true, "header"});
      builder.zero(50 * kTiB);
      auto code = std::async(std::launch::async, [&] { return error_code([&] { builder.finish(); }); });
      builder.cancel();
      EXPECT_EQ(code.get(), code::kCancelled);
    }
    const uint64_t whole = codec == LayerCodec::kNone ? 50 * kTiB : 50 * kTiB / 40000;
    EXPECT_LT(output.written, whole) << "it did not end early";
  }
}

TEST(LayerFailure, ABuilderThatIsGivenUpStopsItsThreads) {
  Disk disk;
  disk.data(make_data(5 * kMiB, 2, Look::kRandom));
  for (int round = 0; round < 20; ++round) {
    MemoryOutput output;
    ScratchBudget budget(kGiB);
    LayerBuilder builder(with(LayerCodec::kGzip), Limits{}, budget, output,
                         [](uint64_t size, std::string_view, unsigned) { return tar_frame(size); });
    builder.start(exact(disk));
    feed(builder, disk, 0);
  }
}

}  // namespace
}  // namespace dvcr
