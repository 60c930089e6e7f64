// Every format with every option that changes where bytes stand, over disks of several sizes and contents, written
// front to back and as guests write; the oracle is qemu-img.
#include "differential.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace dvcr::test {
namespace {

class Differential : public testing::Test {
 public:
  static void TearDownTestSuite() {
    std::printf("differential: %u images, %u comparisons with qemu-img\n", tally.images, tally.comparisons);
  }
  static inline Tally tally;
};

std::string converted(const std::string& format, const std::string& options) {
  return "qemu-img convert -t unsafe -f raw -O " + format + " " + options + " $2 $1";
}

/// Every way in which qemu-img writes a file front to back or with its own threads.
std::vector<Recipe> conversions() {
  std::vector<Recipe> recipes;
  auto add = [&](const std::string& format, const std::string& options, bool declared = false) {
    recipes.push_back({format + " " + options, format, converted(format, options), declared});
  };
  for (const char* cluster : {"512", "4k", "64k", "2M"}) {
    for (const char* version : {"0.10", "1.1"}) {
      const std::string options = "-o cluster_size=" + std::string(cluster) + ",compat=" + version;
      add("qcow2", options);
      add("qcow2", "-c " + options);
    }
    add("qcow2", "-c -o compression_type=zstd,cluster_size=" + std::string(cluster));
    add("qcow2", "-c -W -m 4 -o cluster_size=" + std::string(cluster));
    add("qcow2", "-W -m 4 -o cluster_size=" + std::string(cluster));
  }
  for (const char* cluster : {"16k", "128k"}) {
    add("qcow2", "-o extended_l2=on,cluster_size=" + std::string(cluster));
    add("qcow2", "-c -o extended_l2=on,cluster_size=" + std::string(cluster));
  }
  for (const char* option : {"preallocation=metadata", "preallocation=falloc", "preallocation=full",
                             "lazy_refcounts=on", "refcount_bits=1", "refcount_bits=64"}) {
    add("qcow2", "-o " + std::string(option));
  }
  add("qcow2", "-S 0");
  for (const char* option : {"subformat=monolithicSparse", "subformat=streamOptimized", "compat6", "zeroed_grain=on",
                             "hwversion=13", "adapter_type=lsilogic"}) {
    add("vmdk", "-o " + std::string(option));
  }
  add("vmdk", "-S 0");
  add("vmdk", "-W -m 4");
  add("vdi", "");
  add("vdi", "-o static=on");
  add("vdi", "-W -m 4");
  add("vpc", "");
  add("vpc", "-o force_size=on");
  add("vpc", "-o subformat=fixed", true);
  add("vpc", "-o subformat=fixed,force_size=on", true);
  add("vhdx", "-o block_size=1M");
  add("vhdx", "-o block_size=2M,log_size=2M");
  add("vhdx", "-o block_size=1M,subformat=fixed");
  add("vhdx", "-W -m 4 -o block_size=1M");
  return recipes;
}

void compare_conversions(std::vector<uint8_t> disk, Tally& tally) {
  compare_with_qemu(conversions(), disk, tally);
}

TEST_F(Differential, AMixedDisk) {
  compare_conversions(make_disk(1 * kMiB, 11), tally);
}

TEST_F(Differential, AMixedDiskOfAnOddNumberOfSectors) {
  compare_conversions(make_disk(2 * kMiB + 7 * 512, 12), tally);
}

TEST_F(Differential, AnEmptyDisk) {
  compare_conversions(std::vector<uint8_t>(1 * kMiB + 512), tally);
}

TEST_F(Differential, AFullDisk) {
  compare_conversions(noise(768 * kKiB, 13), tally);
}

TEST_F(Differential, ADiskWithDataInItsLastSectorAlone) {
  std::vector<uint8_t> disk(1 * kMiB + 3 * 512);
  std::fill(disk.end() - 512, disk.end(), uint8_t{0xa5});
  compare_conversions(disk, tally);
}

TEST_F(Differential, ADiskOfOneSector) {
  compare_conversions(noise(512, 14), tally);
}

/// `count` writes at places that `random` gives, in the order that `order` names.
std::string writes(const std::string& format, uint64_t size, unsigned count, std::string_view order, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint64_t> sectors(count);
  for (uint64_t& sector : sectors) sector = random() % (size / 512);
  if (order == "ascending") std::sort(sectors.begin(), sectors.end());
  if (order == "descending") std::sort(sectors.rbegin(), sectors.rend());
  std::string command = "qemu-io -t unsafe -f " + format;
  for (size_t i = 0; i < sectors.size(); ++i) {
    const uint64_t length = std::min<uint64_t>(random() % 120 + 1, size / 512 - sectors[i]) * 512;
    const bool zeros = i % 7 == 6;
    command += " -c 'write " + (zeros ? std::string("-z") : "-P " + std::to_string(i % 255 + 1)) + " " +
               std::to_string(sectors[i] * 512) + " " + std::to_string(length) + "'";
    if (i % 11 == 10) command += " -c 'discard " + std::to_string(sectors[i / 2] * 512) + " 128k'";
  }
  return command + " $1";
}

TEST_F(Differential, ImagesThatGuestsWroteInAnyOrder) {
  constexpr uint64_t kSize = 3 * kMiB + 5 * 512;
  const std::vector<std::pair<std::string, std::string>> kinds{
      {"qcow2", "-o cluster_size=512"},
      {"qcow2", "-o cluster_size=4k"},
      {"qcow2", "-o cluster_size=64k,compat=0.10"},
      {"qcow2", "-o cluster_size=64k,lazy_refcounts=on"},
      {"qcow2", "-o cluster_size=16k,extended_l2=on"},
      {"qcow2", "-o cluster_size=2M"},
      {"vmdk", "-o subformat=monolithicSparse"},
      {"vmdk", "-o subformat=monolithicSparse,zeroed_grain=on"},
      {"vdi", ""},
      {"vpc", "-o force_size=on"},
      {"vhdx", "-o block_size=1M"},
  };
  std::vector<Recipe> recipes;
  for (const auto& [format, options] : kinds) {
    for (const char* order : {"ascending", "descending", "random"}) {
      for (unsigned seed : {1u, 2u}) {
        recipes.push_back({format + " " + options + " " + order, format,
                           "qemu-img create -f " + format + " " + options + " $1 " + std::to_string(kSize) + "; " +
                               writes(format, kSize, 40, order, seed)});
      }
    }
  }
  compare_with_qemu(recipes, {}, tally);
}

TEST_F(Differential, ImagesThatWereChangedAfterwards) {
  std::vector<Recipe> recipes;
  auto add = [&](const std::string& options, const std::string& then) {
    recipes.push_back({options + "; " + then, "qcow2", converted("qcow2", options) + "; " + then});
  };
  const std::string write = "qemu-io -t unsafe -f qcow2 -c 'write -P 77 100k 300k' $1";
  for (const char* options : {"-o cluster_size=512", "-o cluster_size=64k", "-c -o cluster_size=4k", "-c"}) {
    add(options, "qemu-img resize $1 50M");
    add(options, "qemu-img resize --shrink $1 1M");
    add(options, "qemu-img snapshot -c one $1; " + write + "; qemu-img snapshot -c two $1");
    add(options,
        "qemu-img snapshot -c one $1; " + write + "; qemu-img snapshot -a one $1; qemu-img snapshot -d one $1");
    add(options, write + "; qemu-img resize $1 40M; qemu-io -f qcow2 -c 'write -P 3 39M 64k' $1");
    add(options, "qemu-img amend -f qcow2 -o compat=0.10 $1 || true; " + write);
  }
  compare_with_qemu(recipes, make_disk(2 * kMiB, 15), tally);
}

/// Where the bytes of a disk stand that are not zero.
class ExtentsOnly final : public ExtentSink {
 public:
  MutableBytes reserve(size_t want) override {
    room_.resize(std::min<size_t>(want, kMiB));
    return room_;
  }
  void commit(size_t count) override { add(Bytes(room_).first(count)); }
  void zero(uint64_t length) override { size += length; }
  MutableBytes reserve_unit(size_t, size_t) override { throw std::logic_error("no compressed clusters here"); }
  void commit_unit(const CompressedUnit&) override {}

  uint64_t size = 0;
  std::map<uint64_t, std::pair<uint64_t, uint8_t>> extents;  ///< start: end and the byte it is filled with

 private:
  void add(Bytes bytes) {
    for (uint8_t byte : bytes) {
      if (byte != 0) extend(byte);
      ++size;
    }
  }
  void extend(uint8_t byte) {
    if (!extents.empty()) {
      auto& [end, value] = extents.rbegin()->second;
      if (end == size && value == byte) {
        ++end;
        return;
      }
    }
    extents[size] = {size + 1, byte};
  }

  std::vector<uint8_t> room_;
};

TEST_F(Differential, HugeSparseDisksByTheirExtents) {
  struct Huge {
    const char* format;
    const char* options;
    uint64_t size;
  };
  for (const Huge& huge :
       {Huge{"qcow2", "cluster_size=64k", 2 * kTiB}, Huge{"qcow2", "cluster_size=2M", 2 * kTiB},
        Huge{"vhdx", "block_size=1M", 2 * kTiB}, Huge{"vdi", "static=off", 2 * kTiB - kMiB},
        Huge{"vpc", "force_size=on", 2000 * kGiB}, Huge{"vmdk", "subformat=monolithicSparse", 64 * kGiB}}) {
    TempDir directory;
    const std::string path = directory.path("image");
    run({"qemu-img", "create", "-q", "-f", huge.format, "-o", huge.options, path, std::to_string(huge.size)});
    std::map<uint64_t, std::pair<uint64_t, uint8_t>> written;
    std::vector<std::string> command{"qemu-io", "-t", "unsafe", "-f", huge.format};
    uint8_t pattern = 1;
    for (uint64_t at : {huge.size - kMiB, uint64_t{0}, huge.size / 2, huge.size / 4 * 3 + 512}) {
      written[at] = {at + 200 * kKiB, pattern};
      command.insert(command.end(),
                     {"-c", "write -P " + std::to_string(pattern++) + " " + std::to_string(at) + " 200k"});
    }
    command.push_back(path);
    run(command);

    const std::vector<uint8_t> image = read_file(path);
    MemorySource memory(image, 65537);
    PrefixSource source(memory);
    ScratchBudget budget(kGiB);
    ImageReader reader(source, Limits{}, budget, directory.path(""));
    ExtentsOnly sink;
    open_image(source, reader, {})->convert(sink);
    EXPECT_EQ(sink.size, huge.size) << huge.format;
    EXPECT_EQ(sink.extents, written) << huge.format;
    ++tally.images;
    ++tally.comparisons;
  }
}

TEST_F(Differential, AreSeveralHundredImages) {
  EXPECT_GE(tally.images, 300u) << "of the tests of this suite before this one";
}

}  // namespace
}  // namespace dvcr::test
