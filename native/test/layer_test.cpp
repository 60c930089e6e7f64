// What a layer is made of: content, digests, frames.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <thread>

#include "../core/cpu_turn.h"
#include "../core/layer/frame_encoder.h"
#include "layer_fixture.h"
#include "support.h"

namespace dvcr {
namespace {

using namespace test;

LayerOptions with(LayerCodec codec, unsigned threads = 2) {
  return {codec, threads, false, testing::TempDir()};
}

TEST(Layer, UnpacksToTheTarOfTheDiskAndBothDigestsAreRight) {
  const Disk disk = mixed_disk();
  const Data tar = tar_of(disk.content());
  for (const LayerCodec codec : kCodecs) {
    const Built built = build(disk, with(codec), exact(disk));
    EXPECT_TRUE(unpack(codec, built.layer) == tar) << encoder_id(codec);
    EXPECT_EQ(built.result.diff_id, sha256(tar));
    EXPECT_EQ(built.result.digest, sha256(built.layer));
    EXPECT_EQ(built.result.layer_size, built.layer.size());
    EXPECT_EQ(built.result.disk_size, disk.content().size());
    EXPECT_EQ(built.result.size_from, "header");
    EXPECT_EQ(built.scratch_peak, 0u);
    EXPECT_EQ(built.begins, std::vector<std::string>{std::to_string(disk.content().size()) + " header 1"});
  }
}

// Where two layers of one disk differ: whether the disk's own bytes do, and the first byte of the layer that does.
std::string difference(const Built& one, const Built& other) {
  const auto [left, right] = std::mismatch(one.layer.begin(), one.layer.end(), other.layer.begin(), other.layer.end());
  return std::string("diffIDs ") + (one.result.diff_id == other.result.diff_id ? "equal" : "differ") + ", sizes " +
         std::to_string(one.layer.size()) + " and " + std::to_string(other.layer.size()) + ", first at byte " +
         std::to_string(left - one.layer.begin());
}

TEST(Layer, IsTheSameForAnyThreadsAndAnySplitOfTheInput) {
  const Disk disk = mixed_disk();
  for (const LayerCodec codec : kCodecs) {
    const Built first = build(disk, with(codec, 1), exact(disk));
    unsigned split = 0;
    for (const unsigned threads : {2, 4, 1, 16}) {
      const Built again = build(disk, with(codec, threads), exact(disk), ++split);
      EXPECT_EQ(again.result.digest, first.result.digest)
          << threads << " threads, " << encoder_id(codec) << ": " << difference(first, again);
    }
  }
}

void build_many_at_once() {
  constexpr unsigned kMany = 24;
  Disk disk;
  for (unsigned seed = 0; seed < 12; ++seed) disk.data(make_data(kMiB, seed, Look::kText));
  const std::string alone = build(disk, with(LayerCodec::kGzip), exact(disk)).result.digest;
  std::vector<std::string> digests(kMany);
  std::vector<std::thread> imports;
  for (std::string& digest : digests) {
    imports.emplace_back([&] { digest = build(disk, with(LayerCodec::kGzip), exact(disk)).result.digest; });
  }
  for (std::thread& import : imports) import.join();
  EXPECT_EQ(digests, std::vector<std::string>(kMany, alone));
}

// More at once than the process has windows for: each keeps what it needs to go on.
TEST(Layer, ManyAtOnceAllEndAndAreTheSame) {
  build_many_at_once();
}

// Held by one thread that waits for another, the only turn would be the end of all.
TEST(Layer, ManyAtOnceThatTakeTurnsAllEndAndAreTheSame) {
  CpuTurn::limit(1);
  build_many_at_once();
  CpuTurn::limit(0);
}

// ISA-L looks at its stream's address; contents that begin with every hash it knows show it, at two addresses.
TEST(Layer, FramesAreTheSameWhereverTheEncoderLies) {
  for (const LayerCodec codec : {LayerCodec::kGzip, LayerCodec::kZstd}) {
    const auto one = make_frame_encoder(codec);
    const auto spacer = std::make_unique<std::array<uint8_t, 5 * kMiB>>();
    const auto other = make_frame_encoder(codec);
    std::mt19937 random(1);
    Data content = make_data(2 * kKiB, 1, Look::kText);
    Buffer left, right;
    for (unsigned round = 0; round < 40'000; ++round) {
      for (size_t at = 0; at < 6; ++at)
        content[at] = content[500 + at] = content[900 + at] = static_cast<uint8_t>(random());
      left.truncate(0);
      right.truncate(0);
      one->append(content, left);
      other->append(content, right);
      ASSERT_TRUE(std::ranges::equal(left.bytes(), right.bytes())) << encoder_id(codec) << ", round " << round;
    }
  }
}

TEST(Layer, CommonToolsReadIt) {
  Disk disk;
  disk.data(make_data(3 * kMiB, 1, Look::kText)).zeros(66 * kMiB).data(make_data(1000, 2, Look::kRandom));
  for (unsigned i = 0; i < 4; ++i) disk.zeros(64 * kKiB - disk.content().size() % (64 * kKiB));
  for (const LayerCodec codec : kCodecs) {
    const TempDir directory;
    const std::string layer = directory.path("layer");
    const Built built = build(disk, with(codec), exact(disk));
    write_file(layer, built.layer);
    const std::string unpacker = codec == LayerCodec::kGzip   ? "gzip -dc < "
                                 : codec == LayerCodec::kZstd ? "zstd -dc < "
                                                              : "cat ";
    const std::string command = unpacker + layer + " | tar -xf - -C " + directory.path("") + " disk/disk.img";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    EXPECT_TRUE(read_file(directory.path("disk/disk.img")) == disk.content()) << command;
  }
}

TEST(Layer, ZerosCostNextToNothing) {
  Disk little;
  little.data(make_data(kMiB, 1, Look::kText));
  const auto size = [&](LayerCodec codec, uint64_t zeros) {
    MemoryOutput output;
    ScratchBudget budget(0);
    LayerBuilder builder(with(codec), Limits{}, budget, output,
                         [](uint64_t disk_size, std::string_view, unsigned) { return tar_frame(disk_size); });
    builder.start({kMiB + zeros, true, "header"});
    feed(builder, little, 0);
    builder.zero(zeros);
    builder.finish();
    return builder.result().layer_size;
  };
  const uint64_t zeros = kGiB + 7 * kMiB + 320 * kKiB;
  EXPECT_LE((size(LayerCodec::kGzip, zeros) - size(LayerCodec::kGzip, 0)) * 1000, zeros);
  EXPECT_LE((size(LayerCodec::kZstd, zeros) - size(LayerCodec::kZstd, 0)) * 30000, zeros);
}

TEST(Layer, CompressedClustersArePassedThroughAsTheyAre) {
  const Data text = make_data(64 * kKiB, 5, Look::kText);
  for (const UnitCodec unit : {UnitCodec::kDeflate, UnitCodec::kZlib, UnitCodec::kZstd}) {
    for (const LayerCodec codec : {LayerCodec::kGzip, LayerCodec::kZstd}) {
      Disk disk;
      disk.unit(unit, text).unit(unit, Data(64 * kKiB)).unit(unit, make_data(64 * kKiB, 6, Look::kRandom));
      const Built built = build(disk, with(codec), exact(disk));
      EXPECT_TRUE(unpack(codec, built.layer) == tar_of(disk.content()));
      Bytes stream(disk.steps().front().packed);
      if (unit == UnitCodec::kZlib) stream = stream.subspan(2, stream.size() - 6);
      const bool fits = (unit == UnitCodec::kZstd) == (codec == LayerCodec::kZstd);
      EXPECT_EQ(contains(built.layer, stream), fits) << int(unit) << " in " << encoder_id(codec);
    }
  }
}

TEST(Layer, SmallOrShortOrMisplacedClustersAreCompressedAnew) {
  const Data text = make_data(2 * kMiB, 5, Look::kText);
  const auto first = [&](size_t size) { return Data(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size)); };
  std::vector<Disk> disks(5);
  disks[0].unit(UnitCodec::kDeflate, first(16 * kKiB));
  disks[1].unit(UnitCodec::kDeflate, first(64 * kKiB), 5000);
  disks[2].data(first(512)).unit(UnitCodec::kDeflate, first(64 * kKiB));
  disks[3].unit(UnitCodec::kDeflate, first(96 * kKiB));
  disks[4].unit(UnitCodec::kDeflate, first(1000));
  disks[4].last().unit.unit_size = disks[4].last().unit.guest_size = 64 * kKiB;
  disks[4].last().unit.min_size = 1000;
  for (Disk& disk : disks) {
    Data content = disk.content();
    if (&disk == &disks[4]) content.resize(64 * kKiB);
    const Built built = build(disk, with(LayerCodec::kGzip), {content.size(), true, "header"});
    EXPECT_TRUE(unpack(LayerCodec::kGzip, built.layer) == tar_of(content)) << &disk - disks.data();
    EXPECT_FALSE(contains(built.layer, disk.last().packed)) << &disk - disks.data();
  }
}

TEST(Layer, ClustersOf2MiBAndClustersAcrossWindowsKeepTheirContent) {
  const Data text = make_data(2 * kMiB, 5, Look::kText);
  Disk large;
  for (int i = 0; i < 6; ++i) large.unit(UnitCodec::kDeflate, text).data(make_data(2 * kMiB, 6, Look::kRandom));
  Disk crossing;
  crossing.data(make_data(1000, 6, Look::kText));
  for (int i = 0; i < 2; ++i) crossing.unit(UnitCodec::kZstd, text).unit(UnitCodec::kZlib, text, 700 * kKiB);
  for (const Disk* disk : {&large, &crossing}) {
    for (const LayerCodec codec : kCodecs) {
      const Built built = build(*disk, with(codec), exact(*disk));
      EXPECT_TRUE(unpack(codec, built.layer) == tar_of(disk->content()));
      EXPECT_EQ(contains(built.layer, disk->steps()[disk == &large ? 0 : 1].packed),
                disk == &large && codec == LayerCodec::kGzip);
    }
  }
}

TEST(Layer, FramesStandAtEachMebibyteOfTheDisk) {
  Disk disk;
  disk.data(make_data(2 * kMiB + 100, 5, Look::kText))
      .zeros(kMiB - 100 + 64 * kKiB)
      .data(make_data(10, 5, Look::kText));
  for (const LayerCodec codec : {LayerCodec::kGzip, LayerCodec::kZstd}) {
    std::vector<size_t> starts;
    const Built built = build(disk, with(codec), exact(disk));
    unpack(codec, built.layer, &starts);
    // head; 1 MiB; 1 MiB; 64 KiB; 15 + 1 blocks of zeros; 10 bytes; tail
    EXPECT_EQ(starts.size(), 7u) << encoder_id(codec);
  }
}

TEST(Layer, IncompressibleContentGrowsByLessThanAThousandth) {
  Disk disk;
  disk.data(make_data(4 * kMiB, 5, Look::kRandom));
  for (const LayerCodec codec : kCodecs) {
    EXPECT_LE(build(disk, with(codec), exact(disk)).layer.size(), 4 * kMiB + 4 * kKiB + 3 * kKiB);
  }
}

TEST(Layer, AnEmptyDiskIsATarWithAnEmptyFile) {
  for (const LayerCodec codec : kCodecs) {
    EXPECT_TRUE(unpack(codec, build(Disk(), with(codec), {0, true, "header"}).layer) == tar_of({}));
  }
}

class Observer : public UnitObserver {
 public:
  void unit_decoded(uint64_t host_offset, size_t consumed) override { seen.emplace_back(host_offset, consumed); }
  std::vector<std::pair<uint64_t, size_t>> seen;
};

TEST(Layer, ObserversHearOfEveryClusterInGuestOrder) {
  Observer observer;
  Disk disk;
  std::vector<std::pair<uint64_t, size_t>> expected;
  for (unsigned seed = 0; seed < 200; ++seed) {
    disk.unit(UnitCodec::kDeflate, make_data(seed == 5 ? 48 * kKiB : 64 * kKiB, seed, Look::kText));
    Disk::Step& step = disk.last();
    step.unit.observer = &observer;
    expected.emplace_back(step.unit.host_offset, step.packed.size());
    step.packed.resize(step.packed.size() + 50);
    step.unit.packed_size += 50;
  }
  build(disk, with(LayerCodec::kGzip, 4), exact(disk));
  EXPECT_EQ(observer.seen, expected);
}

// A codec, level, header or rule that changes must change the encoder id with it, for registries hold layers by digest.
TEST(Layer, DigestsAreThoseOfThisEncoderId) {
  Disk disk = unpacked_mixed_disk();
  disk.zeros(70 * kMiB).data(make_data(100001, 7, Look::kText));
  const std::vector<std::pair<std::string, std::string>> golden = {
      {"gzip:isal-2.30.0:1:1MiB:r1", "9275885672d9142bbb8469e4129b7dfefcb745131160db6ac90934f9af0b3c97"},
      {"zstd:1.5.4:1:1MiB:r2", "3b200096066772829796fe78dfecbe42b74d423b5bb2cd364cd81dd5fc957d9a"},
      {"none", "c4761819cc48fa3d207a602dcaf9cc0c9b8a5ea49239b49f97ccb217c4b901fb"},
  };
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(encoder_id(kCodecs[i]), golden[i].first) << "the encoder changed: record its digest here";
    EXPECT_EQ(build(disk, with(kCodecs[i]), exact(disk)).result.digest, golden[i].second)
        << "layer bytes changed: raise the revision of its codec in frame_encoder.h, then record the digest here";
  }
}

}  // namespace
}  // namespace dvcr
