// The disk inside of a container image's layer: the first regular file under disk/ of a tar, or a blob that is the disk
// file itself. Read forward; holes of GNU and PAX sparse entries are filled in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "import_limits.h"
#include "layer_files.h"
#include "verify.h"

namespace dvcr {

/// What a layer blob may hold.
enum class LayerContent : uint8_t {
  kTar,        ///< a tar, in one compression or none: a container image
  kTarOrFile,  ///< such a tar, or the disk file: an artifact whose media type says tar, which pushing tools also give
               ///< to files
  kFile,       ///< the disk file
};

struct ContainerLayer {
  LayerContent content = LayerContent::kTar;
  std::string digest;  ///< "sha256:…" of the blob; kChecksum when it differs
  /// Paths that layers above hide, as LayerListing::hides has them.
  std::vector<std::string> hidden;
};

/// The disk file of a layer as a source of its own, so that checksums, unpacking and recognition treat it like any
/// other.
class ContainerLayerSource final : public ChunkSource {
 public:
  /// `blob` must outlive this. Nothing is read yet.
  ContainerLayerSource(ChunkSource& blob, ContainerLayer layer, const Limits& limits);
  ~ContainerLayerSource() override;

  /// Instead of reading: walks up to the disk, or to the blob's end where it has none; only then the digest is
  /// compared.
  LayerListing list();
  /// The first read goes to the disk's first byte. Throws kNoDisk naming what is there, kCorruptImage, kTruncated,
  /// kCorruptCompression and kMetadataLimit (the map of a sparse entry).
  SharedChunk next() override;
  size_t read_direct(MutableBytes out) override;
  [[nodiscard]] bool direct() const override { return true; }
  /// Exact size of the disk file in bytes, where a tar header or the blob tells it; known once something was read.
  [[nodiscard]] std::optional<uint64_t> size() const override;
  /// Call when the disk file was read: reads on to the end of the blob and compares its digest (kChecksum).
  void finish();
  /// Blob bytes taken in so far. Any thread.
  [[nodiscard]] uint64_t blob_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dvcr
