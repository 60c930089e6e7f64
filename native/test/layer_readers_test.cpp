// Readers of layers that others have written, as far as their ways matter to what a layer is made of.
#define ZSTD_STATIC_LINKING_ONLY  // the decoder that says how many bytes it wants next
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <array>

#include "layer_fixture.h"

namespace dvcr {
namespace {

using namespace test;

/// Unpacks a zstd layer as the platform's pvc-importer does: it peeks at the first 512 bytes, hands that buffer to a
/// decoder that reads block by block, and reads the decoder's first 512 bytes into the same buffer. Nothing where the
/// decoder then meets its own output.
std::optional<Data> unpack_with_one_buffer(Bytes layer) {
  std::array<uint8_t, 512> peeked{};
  std::copy_n(layer.begin(), std::min(peeked.size(), layer.size()), peeked.begin());
  const auto byte_at = [&](size_t at) { return at < peeked.size() ? peeked[at] : layer[at]; };
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> decoder(ZSTD_createDCtx(), ZSTD_freeDCtx);
  Data out(64u << 20);
  size_t filled = 0;
  bool reused = false;
  for (size_t at = 0; at < layer.size();) {
    ZSTD_decompressBegin(decoder.get());
    for (size_t want = 0; (want = ZSTD_nextSrcSizeToDecompress(decoder.get())) > 0;) {
      Data piece(want);
      for (size_t i = 0; i < want; ++i) piece[i] = at + i < layer.size() ? byte_at(at + i) : uint8_t{0};
      at += want;
      const size_t made =
          ZSTD_decompressContinue(decoder.get(), out.data() + filled, out.size() - filled, piece.data(), want);
      if (ZSTD_isError(made) != 0) return std::nullopt;
      filled += made;
      if (filled < peeked.size() || reused) continue;
      reused = true;
      std::copy_n(out.begin(), peeked.size(), peeked.begin());
    }
  }
  out.resize(filled);
  return out;
}

TEST(LayerReaders, AnImporterThatUsesItsPeekBufferAgainReadsAZstdLayer) {
  for (const Look look : {Look::kText, Look::kRandom}) {
    Disk disk;
    disk.data(make_data(100'000, 3, look)).zeros(3u << 20).data(make_data(5000, 4, look));
    const Built built = build(disk, {LayerCodec::kZstd, 2, false, testing::TempDir()}, exact(disk));
    EXPECT_TRUE(unpack_with_one_buffer(built.layer) == tar_of(disk.content()));
  }
}

TEST(LayerReaders, ThatImporterReadsNoLayerWhoseFirstFrameIsPacked) {
  const Data tar = tar_of(make_data(100'000, 3, Look::kRandom));
  Data layer = pack(UnitCodec::kZstd, Bytes(tar).first(1024));
  ASSERT_LT(layer.size(), 512u);
  const Data rest = pack(UnitCodec::kZstd, Bytes(tar).subspan(1024));
  layer.insert(layer.end(), rest.begin(), rest.end());
  EXPECT_TRUE(unpack(LayerCodec::kZstd, layer) == tar);
  EXPECT_FALSE(unpack_with_one_buffer(layer) == tar);
}

}  // namespace
}  // namespace dvcr
