#include "container_layer.h"

#include <limits>

#include "chunk_pool.h"
#include "disk_image.h"
#include "formats/raw.h"
#include "tar_members.h"
#include "unpack/unpack.h"

namespace dvcr {
namespace {

constexpr size_t kTarHead = 512;

[[noreturn]] void throw_no_disk(const LayerListing& listing) {
  std::string text = "the layer has no file under disk/";
  for (size_t i = 0; i < listing.seen.size(); ++i) text += (i == 0 ? ", only: " : ", ") + listing.seen[i];
  if (listing.seen.size() == kMaxSeenFiles) text += ", …";
  throw Error(code::kNoDisk, text);
}

/// A blob that is a file counts as a disk by its content; artifacts carry texts and signatures too.
LayerListing list_file(ByteSource& file) {
  PrefixSource source(file);
  Bytes head = source.prefix(kProbeSize);
  LayerListing listing;
  if (detect_compression(head) != Compression::kNone || !recognised_format(head).empty() || guess_size(head)) {
    listing.disk = "disk";
  }
  return listing;
}

std::vector<Checksum> blob_checksums(const std::string& digest) {
  constexpr std::string_view kAlgorithm = "sha256:";
  if (!digest.starts_with(kAlgorithm)) return {};
  return {{"sha256", digest.substr(kAlgorithm.size())}};
}

}  // namespace

struct ContainerLayerSource::Impl {
  ContainerLayer layer;
  Limits limits;
  VerifySource blob;
  ChunkPool pool;
  std::optional<UnpackChain> chain;
  std::optional<StreamBlocks> blocks;
  std::optional<TarMembers> members;
  ByteSource* content = nullptr;  // the disk file, from open() on

  Impl(ChunkSource& source, ContainerLayer given, const Limits& given_limits)
      : layer(std::move(given)), limits(given_limits), blob(source, blob_checksums(layer.digest)) {
    limits.max_compression_depth = 1;
  }

  /// The layer's tar, or nothing where the blob is the file itself, which is then the content.
  TarMembers* unpack() {
    if (layer.content == LayerContent::kFile) {
      content = &blob;
      return nullptr;
    }
    chain.emplace(blob, limits, 1);
    if (layer.content == LayerContent::kTarOrFile && !is_tar(chain->output().prefix(kTarHead))) {
      content = &chain->output();
      return nullptr;
    }
    return &members.emplace(blocks.emplace(chain->output()), std::numeric_limits<uint64_t>::max());
  }

  void open() {
    if (content != nullptr) return;
    TarMembers* tar = unpack();
    if (tar == nullptr) return;
    LayerListing listing = find_layer_disk(*tar, layer.hidden);
    if (listing.disk.empty()) throw_no_disk(listing);
    content = tar;
  }

  void finish() {
    while (members && members->next()) {
    }
    if (chain) chain->finish();
    try {
      blob.finish();
    } catch (const Error& error) {
      if (error.code() != code::kChecksum) throw;
      throw Error(code::kChecksum, std::string("the layer's blob does not match its digest: ") + error.what());
    }
  }
};

ContainerLayerSource::ContainerLayerSource(ChunkSource& blob, ContainerLayer layer, const Limits& limits)
    : impl_(std::make_unique<Impl>(blob, std::move(layer), limits)) {}

ContainerLayerSource::~ContainerLayerSource() = default;

LayerListing ContainerLayerSource::list() {
  TarMembers* tar = impl_->unpack();
  LayerListing listing = tar != nullptr ? find_layer_disk(*tar, impl_->layer.hidden) : list_file(*impl_->content);
  if (listing.disk.empty()) impl_->finish();
  return listing;
}

SharedChunk ContainerLayerSource::next() {
  impl_->open();
  return impl_->pool.make([this](MutableBytes out) { return impl_->content->read(out); });
}

size_t ContainerLayerSource::read_direct(MutableBytes out) {
  impl_->open();
  return impl_->content->read(out);
}

std::optional<uint64_t> ContainerLayerSource::size() const {
  return impl_->content == nullptr ? std::nullopt : impl_->content->size();
}

void ContainerLayerSource::finish() {
  impl_->finish();
}

uint64_t ContainerLayerSource::blob_bytes() const {
  return impl_->blob.total();
}

}  // namespace dvcr
