// Disks in container layers, made with GNU tar.
#include "container_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "chunk_pool.h"
#include "hash.h"
#include "support.h"

namespace dvcr::test {
namespace {

/// A directory whose content is packed as a layer.
class Rootfs {
 public:
  void add(const std::string& name, Bytes bytes) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    write_file(path(name), bytes);
  }
  void add(const std::string& name) { add(name, Bytes()); }
  /// A file with `data` at each of the offsets and holes between, `size` bytes in all.
  std::vector<uint8_t> add_sparse(const std::string& name, uint64_t size, const std::vector<uint64_t>& offsets) {
    std::vector<uint8_t> bytes(size);
    std::vector<uint8_t> data = noise(64 * 1024, size);
    add(name);
    std::filesystem::resize_file(path(name), size);
    for (uint64_t offset : offsets) {
      std::copy(data.begin(), data.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
      write_file(path("piece"), data);
      run({"dd", "if=" + path("piece"), "of=" + path(name), "bs=4096", "seek=" + std::to_string(offset / 4096),
           "conv=notrunc", "status=none"});
    }
    std::filesystem::remove(path("piece"));
    return bytes;
  }
  std::vector<uint8_t> tar(const std::vector<std::string>& names, const std::vector<std::string>& options = {}) {
    std::vector<std::string> command{"tar", "-C", path("."), "-cf", path("../out.tar")};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), names.begin(), names.end());
    std::filesystem::create_directories(path("."));
    run(command);
    return read_file(path("../out.tar"));
  }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path("root/" + name); }

 private:
  TempDir dir_;
};

class MemoryChunks final : public ChunkSource {
 public:
  explicit MemoryChunks(Bytes bytes) : memory_(bytes, 100'000) {}
  SharedChunk next() override {
    return pool_.make([this](MutableBytes out) { return memory_.read(out); });
  }

 private:
  MemorySource memory_;
  ChunkPool pool_;
};

struct Taken {
  std::vector<uint8_t> bytes;
  std::optional<uint64_t> size;
  std::string code;
  std::string message;
};

Taken take(Bytes blob, const ContainerLayer& layer = {}, const Limits& limits = {}) {
  Taken taken;
  Converted failure = caught([&] {
    MemoryChunks chunks(blob);
    ContainerLayerSource source(chunks, layer, limits);
    for (SharedChunk chunk = source.next(); !chunk.bytes.empty(); chunk = source.next()) {
      taken.bytes.insert(taken.bytes.end(), chunk.bytes.begin(), chunk.bytes.end());
    }
    taken.size = source.size();
    source.finish();
  });
  taken.code = failure.code;
  taken.message = failure.message;
  return taken;
}

LayerListing list(Bytes blob, const ContainerLayer& layer = {}) {
  MemoryChunks chunks(blob);
  return ContainerLayerSource(chunks, layer, Limits()).list();
}

std::string digest_of(Bytes bytes) {
  Digest digest("sha256");
  digest.update(bytes);
  return "sha256:" + digest.finish();
}

std::vector<uint8_t> disk() {
  return make_disk(300 * 1024 + 512, 5);
}

TEST(ContainerLayer, GivesTheFirstRegularFileUnderDisk) {
  Rootfs root;
  root.add("disk/image.qcow2", disk());
  root.add("etc/disk.img", noise(5000, 1));
  root.add("diskette/x", noise(5000, 2));
  std::filesystem::create_symlink("image.qcow2", root.path("disk/a-link"));
  for (const char* prefix : {"", "./", "/"}) {
    std::vector<uint8_t> tar =
        root.tar({"etc", "diskette", "disk/a-link", "disk"}, {"--transform=s,^," + std::string(prefix) + ",", "-P"});
    Taken taken = take(tar);
    EXPECT_EQ(taken.message, "");
    EXPECT_EQ(taken.bytes, disk()) << "names begin with " << prefix;
    EXPECT_EQ(taken.size, disk().size());
  }
}

TEST(ContainerLayer, FindsLongNamesOfBothKinds) {
  Rootfs root;
  std::string name = "disk/" + std::string(90, 'd') + "/" + std::string(120, 'n') + ".img";
  root.add(name, disk());
  for (const char* format : {"gnu", "pax", "ustar"}) {
    std::string file = std::string(format) == "ustar" ? "disk/" + std::string(90, 'd') + "/short" : name;
    root.add(file, disk());
    EXPECT_EQ(take(root.tar({file}, {std::string("--format=") + format})).bytes, disk()) << format;
  }
}

class SparseLayer : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(SparseLayer, FillsInTheHoles) {
  Rootfs root;
  // More pieces than the 4 that an old GNU header and the 21 that its first extension have room for.
  std::vector<uint64_t> offsets;
  for (uint64_t i = 1; i < 40; ++i) offsets.push_back(i * 256 * 1024);
  for (uint64_t tail : {0, 100 * 1024 + 7}) {
    std::vector<uint8_t> bytes = root.add_sparse("disk/disk.img", offsets.back() + 64 * 1024 + tail, offsets);
    std::vector<std::string> options = GetParam();
    options.push_back("--sparse");
    std::vector<uint8_t> tar = root.tar({"disk"}, options);
    ASSERT_LT(tar.size(), bytes.size() / 2) << "tar found no holes";
    Taken taken = take(tar);
    EXPECT_EQ(taken.message, "");
    EXPECT_EQ(taken.size, bytes.size());
    EXPECT_TRUE(taken.bytes == bytes);
  }
}

TEST_P(SparseLayer, OfNothingButAHoleIsZeros) {
  Rootfs root;
  root.add_sparse("disk/disk.img", 10'000'001, {});
  std::vector<std::string> options = GetParam();
  options.push_back("--sparse");
  Taken taken = take(root.tar({"disk"}, options));
  EXPECT_EQ(taken.message, "");
  EXPECT_EQ(taken.bytes.size(), 10'000'001U);
  EXPECT_TRUE(is_zero(taken.bytes));
}

INSTANTIATE_TEST_SUITE_P(Kinds, SparseLayer,
                         testing::Values(std::vector<std::string>{"--format=gnu"},
                                         std::vector<std::string>{"--format=pax", "--sparse-version=0.0"},
                                         std::vector<std::string>{"--format=pax", "--sparse-version=0.1"},
                                         std::vector<std::string>{"--format=pax", "--sparse-version=1.0"}),
                         [](const testing::TestParamInfo<std::vector<std::string>>& kind) {
                           std::string name = kind.param.back().substr(kind.param.back().find('=') + 1);
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ContainerLayer, IsUnpackedByItsContent) {
  Rootfs root;
  root.add("disk/disk.img", disk());
  for (const char* option : {"--gzip", "--zstd", "--xz"}) {
    EXPECT_EQ(take(root.tar({"disk"}, {option})).bytes, disk()) << option;
  }
}

TEST(ContainerLayer, WithoutADiskSaysWhatItHolds) {
  Rootfs root;
  root.add("etc/passwd", noise(100, 1));
  root.add("disk/.wh.old.img");
  root.add("disk/empty");
  Taken taken = take(root.tar({"etc", "disk"}));
  EXPECT_EQ(taken.code, "E_NO_DISK");
  EXPECT_NE(taken.message.find("etc/passwd"), std::string::npos) << taken.message;
  EXPECT_EQ(take(root.tar({"-T", "/dev/null"})).message, "the layer has no file under disk/");
}

TEST(ContainerLayer, TellsWhatItHidesInTheLayersBelow) {
  Rootfs root;
  root.add("disk/.wh.old.img");
  root.add("disk/sub/.wh..wh..opq");
  root.add(".wh.other");
  EXPECT_EQ(list(root.tar({"disk/.wh.old.img", "disk/sub", ".wh.other"})).hides,
            (std::vector<std::string>{"disk/old.img", "disk/sub/"}));
  root.add(".wh.disk");
  root.add(".wh..wh..opq");
  EXPECT_EQ(list(root.tar({".wh.disk", ".wh..wh..opq"})).hides, (std::vector<std::string>{"disk", "/"}));
}

TEST(ContainerLayer, PassesOverWhatLayersAboveHide) {
  Rootfs root;
  root.add("disk/a/old.img", noise(5000, 1));
  root.add("disk/b.img", disk());
  std::vector<uint8_t> tar = root.tar({"disk/a", "disk/b.img"});
  for (const char* hides : {"disk/a/old.img", "disk/a", "disk/a/"}) {
    ContainerLayer layer;
    layer.hidden = {hides};
    EXPECT_EQ(take(tar, layer).bytes, disk()) << hides;
    EXPECT_EQ(list(tar, layer).disk, "disk/b.img");
  }
  for (const char* hides : {"disk", "disk/", "/"}) {
    ContainerLayer layer;
    layer.hidden = {hides};
    EXPECT_EQ(take(tar, layer).code, "E_NO_DISK") << hides;
  }
}

TEST(ContainerLayer, ThatIsTheDiskFileIsTakenWhole) {
  ContainerLayer layer;
  layer.content = LayerContent::kTarOrFile;
  EXPECT_EQ(take(disk(), layer).bytes, disk());
  Rootfs root;
  root.add("disk/disk.img", disk());
  EXPECT_EQ(take(root.tar({"disk"}), layer).bytes, disk());
  layer.content = LayerContent::kFile;
  std::vector<uint8_t> tar = root.tar({"disk"});
  EXPECT_EQ(take(tar, layer).bytes, tar);
}

TEST(ContainerLayer, WithAnotherDigestIsRefused) {
  Rootfs root;
  root.add("disk/disk.img", disk());
  std::vector<uint8_t> tar = root.tar({"disk"}, {"--gzip"});
  ContainerLayer layer;
  layer.digest = digest_of(tar);
  EXPECT_EQ(take(tar, layer).message, "");
  layer.digest = digest_of(disk());
  EXPECT_EQ(take(tar, layer).code, "E_CHECKSUM_MISMATCH");
}

TEST(ContainerLayer, CutAnywhereIsRefused) {
  Rootfs root;
  std::vector<uint8_t> bytes = root.add_sparse("disk/disk.img", 1 << 20, {128 * 1024, 512 * 1024});
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{}, std::vector<std::string>{"--sparse", "--format=pax"},
        std::vector<std::string>{"--sparse", "--format=gnu"}, std::vector<std::string>{"--gzip"}}) {
    std::vector<uint8_t> tar = root.tar({"disk"}, options);
    // Up to the end of the data; what stands behind are zeros.
    for (size_t cut = 700; cut + 11 * 1024 < tar.size(); cut += tar.size() / 37) {
      Taken taken = take(Bytes(tar).first(cut));
      EXPECT_NE(taken.code, "") << "cut at " << cut << " of " << tar.size();
      EXPECT_LT(taken.bytes.size(), bytes.size() + 1);
    }
  }
}

TEST(ContainerLayer, WithAnEndlessSparseMapIsRefused) {
  Rootfs root;
  root.add_sparse("disk/disk.img", 1 << 20, {128 * 1024});
  std::vector<uint8_t> tar = root.tar({"disk"}, {"--sparse", "--format=pax", "--sparse-version=1.0"});
  // The map stands in front of the data and begins with the number of its entries.
  std::string map = "9000000\n";
  while (map.size() < 12 << 20) map += "0\n0\n";
  std::string_view text(reinterpret_cast<const char*>(tar.data()), tar.size());
  size_t at = text.find("\n131072\n");
  ASSERT_NE(at, std::string_view::npos);
  std::vector<uint8_t> hostile(tar.begin(), tar.begin() + static_cast<ptrdiff_t>(at / 512 * 512));
  std::span<uint8_t> header = std::span(hostile).last(512);
  auto put_octal = [&](size_t offset, size_t digits, uint64_t value) {
    for (size_t i = digits; i-- > 0; value /= 8) header[offset + i] = static_cast<uint8_t>('0' + value % 8);
  };
  put_octal(124, 11, map.size());
  std::fill_n(header.begin() + 148, 8, uint8_t{' '});
  put_octal(148, 6, std::accumulate(header.begin(), header.end(), uint64_t{0}));
  hostile.insert(hostile.end(), map.begin(), map.end());
  EXPECT_EQ(take(hostile).code, "E_METADATA_LIMIT");
}

}  // namespace
}  // namespace dvcr::test
