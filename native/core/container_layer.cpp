#include "container_layer.h"

#include <algorithm>
#include <array>
#include <limits>

#include "archive_source.h"
#include "chunk_pool.h"
#include "disk_image.h"
#include "formats/raw.h"
#include "tar_reader.h"
#include "unpack/unpack.h"

namespace dvcr {
namespace {

constexpr std::string_view kDirectory = "disk";
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr size_t kMaxSeen = 10;
constexpr size_t kMaxHides = 4096;
constexpr size_t kTarHead = 512;
// One header with all its extensions and its sparse map. The archive library holds the map, an entry in about ten times
// the bytes it has in the tar.
constexpr uint64_t kMaxHeaderBytes = 8 * kMiB;

/// As a path below the root: `./disk/x` and `/disk/x` are `disk/x`.
std::string_view below_root(std::string_view name) {
  for (;;) {
    if (name.starts_with('/')) {
      name.remove_prefix(1);
    } else if (name.starts_with("./")) {
      name.remove_prefix(2);
    } else {
      break;
    }
  }
  while (name.ends_with('/')) name.remove_suffix(1);
  return name;
}

bool is_within(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

bool is_hidden(std::string_view path, const std::vector<std::string>& hidden) {
  return std::any_of(hidden.begin(), hidden.end(), [&](std::string_view hides) {
    if (hides.ends_with('/')) return hides == "/" || path.starts_with(hides);
    return path == hides || is_within(path, hides);
  });
}

/// Hands out the unpacked layer's own buffers and counts what one call of the tar reader takes.
class LayerBlocks final : public TarBlocks {
 public:
  explicit LayerBlocks(ByteSource& layer) : layer_(layer) {}
  void begin_call() { in_call_ = 0; }
  Bytes next() override {
    layer_.consume(given_);
    given_ = 0;
    if (in_call_ > kMaxHeaderBytes) {
      throw Error(code::kMetadataLimit,
                  "a header of the layer is longer than " + std::to_string(kMaxHeaderBytes) + " bytes");
    }
    Bytes bytes = layer_.peek();
    given_ = bytes.size();
    in_call_ += given_;
    return bytes;
  }
  uint64_t skip(uint64_t) override { return 0; }

 private:
  ByteSource& layer_;
  size_t given_ = 0;
  uint64_t in_call_ = 0;
};

/// The members of a layer, one after the other; the one in hand is a stream with its holes filled in.
class LayerMembers final : public ByteSource {
 public:
  explicit LayerMembers(ByteSource& layer)
      : blocks_(layer), tar_(blocks_, std::numeric_limits<uint64_t>::max()), zeros_(ChunkPool::kChunkSize) {}

  std::optional<TarMember> next() {
    if (at_end_) return std::nullopt;
    // Not left to the tar reader, in whose call a member's data would count as a header.
    piece_.reset();
    while (!ended_) {
      blocks_.begin_call();
      ended_ = !tar_.piece();
    }
    blocks_.begin_call();
    std::optional<TarMember> member = tar_.next();
    left_ = member ? member->size : 0;
    size_ = left_;
    ended_ = at_end_ = !member;
    return member;
  }

  Bytes peek() override {
    if (left_ == 0) return {};
    if (!piece_) next_piece();
    uint64_t at = size_ - left_;
    uint64_t until = piece_ ? piece_->offset : size_;
    if (at < until) return Bytes(zeros_).first(static_cast<size_t>(std::min<uint64_t>(zeros_.size(), until - at)));
    return piece_->bytes;
  }

  void consume(size_t count) override {
    uint64_t at = size_ - left_;
    left_ -= count;
    if (!piece_ || at < piece_->offset) return;
    piece_->bytes = piece_->bytes.subspan(count);
    piece_->offset += count;
    if (piece_->bytes.empty()) piece_.reset();
  }

  [[nodiscard]] std::optional<uint64_t> size() const override { return size_; }

 private:
  void next_piece() {
    if (ended_) return;
    blocks_.begin_call();
    piece_ = tar_.piece();
    ended_ = !piece_;
    if (ended_) return;
    uint64_t at = size_ - left_;
    if (piece_->offset < at || piece_->offset > size_ || piece_->bytes.size() > size_ - piece_->offset) {
      throw Error(code::kCorruptImage, "a sparse entry of the layer has data at byte " +
                                           std::to_string(piece_->offset) +
                                           ", out of order or behind its end at byte " + std::to_string(size_));
    }
  }

  LayerBlocks blocks_;
  TarReader tar_;
  std::vector<uint8_t> zeros_;
  std::optional<TarPiece> piece_;
  uint64_t size_ = 0;
  uint64_t left_ = 0;
  bool ended_ = true;    // the pieces of the member in hand
  bool at_end_ = false;  // of the tar, which must not be read on
};

void note_hides(std::string_view path, const TarMember& member, std::vector<std::string>& hides) {
  size_t slash = path.rfind('/');
  std::string_view parent = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  std::string hidden;
  if (name == kOpaque) {
    hidden = std::string(parent) + "/";
  } else if (name.starts_with(kWhiteout)) {
    hidden = (parent.empty() ? "" : std::string(parent) + "/") + std::string(name.substr(kWhiteout.size()));
  } else if (!member.directory) {
    hidden = std::string(path);
  } else {
    return;
  }
  std::string_view bare = below_root(hidden);
  if (!bare.empty() && bare != kDirectory && !is_within(bare, kDirectory)) return;
  if (hides.size() == kMaxHides) {
    throw Error(code::kMetadataLimit, "a layer has more than " + std::to_string(kMaxHides) + " entries under disk/");
  }
  hides.push_back(std::move(hidden));
}

/// Goes to the first byte of the layer's disk.
LayerListing find_disk(LayerMembers& members, const std::vector<std::string>& hidden) {
  LayerListing listing;
  while (std::optional<TarMember> member = members.next()) {
    std::string_view path = below_root(member->name);
    std::string_view name = path.substr(path.rfind('/') + 1);
    if (member->regular && member->size > 0 && is_within(path, kDirectory) && !name.starts_with(kWhiteout) &&
        !is_hidden(path, hidden)) {
      listing.disk = path;
      return listing;
    }
    if (!member->directory && listing.seen.size() < kMaxSeen) listing.seen.push_back(member->name);
    note_hides(path, *member, listing.hides);
  }
  return listing;
}

[[noreturn]] void throw_no_disk(const LayerListing& listing) {
  std::string text = "the layer has no file under disk/";
  for (size_t i = 0; i < listing.seen.size(); ++i) text += (i == 0 ? ", only: " : ", ") + listing.seen[i];
  if (listing.seen.size() == kMaxSeen) text += ", …";
  throw Error(code::kNoDisk, text);
}

/// A blob that is a file counts as a disk by its content; artifacts carry texts and signatures too.
LayerListing list_file(ByteSource& file) {
  PrefixSource source(file);
  Bytes head = source.prefix(kProbeSize);
  LayerListing listing;
  if (detect_compression(head) != Compression::kNone || !recognised_format(head).empty() || guess_size(head)) {
    listing.disk = kDirectory;
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
  std::optional<LayerMembers> members;
  ByteSource* content = nullptr;  // the disk file, from open() on

  Impl(ChunkSource& source, ContainerLayer given, const Limits& given_limits)
      : layer(std::move(given)), limits(given_limits), blob(source, blob_checksums(layer.digest)) {
    limits.max_compression_depth = 1;
  }

  /// The layer's tar, or nothing where the blob is the file itself, which is then the content.
  LayerMembers* unpack() {
    if (layer.content == LayerContent::kFile) {
      content = &blob;
      return nullptr;
    }
    chain.emplace(blob, limits, 1);
    if (layer.content == LayerContent::kTarOrFile && !is_tar(chain->output().prefix(kTarHead))) {
      content = &chain->output();
      return nullptr;
    }
    return &members.emplace(chain->output());
  }

  void open() {
    if (content != nullptr) return;
    LayerMembers* tar = unpack();
    if (tar == nullptr) return;
    LayerListing listing = find_disk(*tar, layer.hidden);
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
  LayerMembers* tar = impl_->unpack();
  LayerListing listing = tar != nullptr ? find_disk(*tar, impl_->layer.hidden) : list_file(*impl_->content);
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
