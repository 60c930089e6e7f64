#include "formats/qcow2_header.h"

#include <algorithm>
#include <array>

namespace dvcr {

namespace {

constexpr size_t kHeaderV2 = 72;
constexpr size_t kHeaderV3 = 104;
constexpr uint64_t kMaxL1Entries = 32 * kMiB / 8;
constexpr uint64_t kMaxRefcountTable = 8 * kMiB;
constexpr uint64_t kMaxSnapshots = 65536;
constexpr uint64_t kBitmapsExtension = 24;
constexpr uint64_t kBitmapEntry = 24;
constexpr uint64_t kMaxBitmapDirectory = kMiB;
constexpr unsigned kMinClusterBits = 9;
constexpr unsigned kMaxClusterBits = 21;
constexpr unsigned kMinExtendedBits = 14;  // 32 subclusters of at least a sector

constexpr uint64_t kDirty = 1u << 0;
constexpr uint64_t kCorrupt = 1u << 1;
constexpr uint64_t kExternalFile = 1u << 2;
constexpr uint64_t kCompressionType = 1u << 3;
constexpr uint64_t kExtendedL2 = 1u << 4;
constexpr uint64_t kKnownFeatures = (1u << 5) - 1;
constexpr uint64_t kLazyRefcounts = 1u << 0;
constexpr uint64_t kRawExternal = 1u << 1;

enum Extension : uint32_t {
  kEnd = 0,
  kBackingFormat = 0xe2792aca,
  kFeatureNames = 0x6803f857,
  kBitmaps = 0x23852875,
  kEncryption = 0x0537be77,
  kDataFile = 0x44415441,
};

[[noreturn]] void corrupt(const std::string& why) {
  throw Error(code::kCorruptImage, "the qcow2 header is damaged: " + why);
}

std::string bits_of(uint64_t mask) {
  std::string list;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if ((mask >> bit & 1) != 0) list += (list.empty() ? "" : ", ") + std::to_string(bit);
  }
  return list;
}

void refuse_backing_file() {
  throw Error(code::kBackingFile, "the qcow2 image is an overlay: it names a backing file");
}

// What needs another file or a key is refused first: that is more useful to know than any damage.
void check_self_contained(Bytes fixed) {
  if (be64(fixed, 8) != 0) refuse_backing_file();
  if (uint32_t method = be32(fixed, 32); method != 0) {
    throw Error(code::kEncrypted, "the qcow2 image is encrypted with method " + std::to_string(method));
  }
}

void parse_geometry(Bytes fixed, const Limits& limits, Qcow2Header& header) {
  header.cluster_bits = be32(fixed, 20);
  if (header.cluster_bits < kMinClusterBits || header.cluster_bits > kMaxClusterBits) {
    corrupt("a cluster of 2^" + std::to_string(header.cluster_bits) + " bytes");
  }
  header.virtual_size = be64(fixed, 24);
  if (header.virtual_size == 0) throw Error(code::kEmpty, "the qcow2 image holds a disk of 0 bytes");
  if (header.virtual_size > limits.max_virtual_size) {
    throw Error(code::kTooLarge, "the disk has " + std::to_string(header.virtual_size) +
                                     " bytes, more than the limit of " + std::to_string(limits.max_virtual_size));
  }
  if (header.virtual_size % 512 != 0) {
    corrupt("a disk of " + std::to_string(header.virtual_size) + " bytes, which are not whole sectors");
  }
}

void parse_features(Bytes fixed, Bytes rest, Qcow2Header& header) {
  uint64_t incompatible = be64(fixed, 72);
  uint64_t autoclear = be64(fixed, 88);
  if ((incompatible & kExternalFile) != 0 || (autoclear & kRawExternal) != 0) {
    throw Error(code::kExternalData, "the qcow2 image keeps its data in another file");
  }
  if (uint64_t unknown = incompatible & ~kKnownFeatures; unknown != 0) {
    throw Error(code::kUnsupportedFeature,
                "the qcow2 image needs features that are not known: bits " + bits_of(unknown));
  }
  if ((incompatible & kCorrupt) != 0) {
    throw Error(code::kCorruptImage, "the qcow2 image is marked as corrupt; repair it with qemu-img check -r all");
  }
  header.dirty = (incompatible & kDirty) != 0;
  header.extended_l2 = (incompatible & kExtendedL2) != 0;
  header.lazy_refcounts = (be64(fixed, 80) & kLazyRefcounts) != 0;
  header.refcount_order = be32(fixed, 96);
  if (header.refcount_order > 6) corrupt("refcounts of 2^" + std::to_string(header.refcount_order) + " bits");
  if (header.extended_l2 && header.cluster_bits < kMinExtendedBits) {
    corrupt("subclusters in clusters of 2^" + std::to_string(header.cluster_bits) + " bytes");
  }
  uint8_t compression = rest.empty() ? uint8_t{0} : rest[0];
  if (((incompatible & kCompressionType) != 0) != (compression != 0)) {
    corrupt("its compression type " + std::to_string(compression) + " contradicts its feature bit");
  }
  if (compression > 1) {
    throw Error(code::kUnsupportedFeature,
                "the qcow2 image's compression type " + std::to_string(compression) + " is not known");
  }
  header.codec = compression == 0 ? UnitCodec::kDeflate : UnitCodec::kZstd;
}

void parse_tables(Bytes fixed, Qcow2Header& header) {
  uint64_t cluster = header.cluster_size();
  header.l1_entries = be32(fixed, 36);
  header.l1_offset = be64(fixed, 40);
  header.refcount_offset = be64(fixed, 48);
  uint64_t refcount_clusters = be32(fixed, 56);
  header.refcount_length = refcount_clusters * cluster;
  header.snapshots = be32(fixed, 60);
  if (header.l1_entries > kMaxL1Entries) {
    corrupt("an L1 table of " + std::to_string(header.l1_entries) + " entries, at most 4194304 are allowed");
  }
  if (header.l1_entries < header.l1_needed()) {
    corrupt("an L1 table of " + std::to_string(header.l1_entries) + " entries, the disk needs " +
            std::to_string(header.l1_needed()));
  }
  auto check_place = [&](uint64_t offset, const char* name) {
    if (offset < cluster || offset % cluster != 0 || offset >= uint64_t{1} << 56) {
      corrupt(std::string("the ") + name + " cannot be at offset " + std::to_string(offset));
    }
  };
  check_place(header.l1_offset, "L1 table");
  check_place(header.refcount_offset, "refcount table");
  if (refcount_clusters == 0 || header.refcount_length > kMaxRefcountTable) {
    corrupt("a refcount table of " + std::to_string(refcount_clusters) + " clusters");
  }
  if (header.snapshots > kMaxSnapshots)
    corrupt(std::to_string(header.snapshots) + " snapshots, at most 65536 are allowed");
  if (header.snapshots != 0) check_place(be64(fixed, 64), "snapshot table");
}

/// Reads on from where the header was read to.
class ExtensionReader {
 public:
  ExtensionReader(ImageReader& reader, uint64_t start, Qcow2Header& header)
      : reader_(reader), at_(start), end_(header.cluster_size()), header_(header) {}

  void read_all() {
    for (;;) {
      std::array<uint8_t, 8> head;
      need(head.size());
      reader_.read_at(at_, head, "the qcow2 header");
      at_ += head.size();
      uint32_t type = be32(head, 0);
      uint64_t length = be32(head, 4);
      if (type == kEnd) return;
      refuse(type);
      need(length);
      const uint64_t padded = (length + 7) / 8 * 8;
      const uint64_t read = type == kBitmaps && length >= kBitmapsExtension ? read_bitmaps() : 0;
      skip(padded - read);
    }
  }

 private:
  void need(uint64_t length) const {
    if (length > end_ - std::min(at_, end_)) {
      corrupt("a header extension at offset " + std::to_string(at_) + " does not end within the first cluster");
    }
  }

  void refuse(uint32_t type) {
    if (type == kBackingFormat) refuse_backing_file();
    if (type == kDataFile) throw Error(code::kExternalData, "the qcow2 image keeps its data in another file");
    if (type == kEncryption) throw Error(code::kEncrypted, "the qcow2 image is encrypted with LUKS");
    // Names of features and bitmaps of changed blocks say nothing of the content; their bytes are not looked at.
    for (auto [known, seen] : {std::pair{kFeatureNames, &names_seen_}, {kBitmaps, &bitmaps_seen_}}) {
      if (type != known) continue;
      if (*seen) corrupt("a header extension appears twice");
      *seen = true;
    }
  }

  /// Where the bitmaps' directory is (qemu's docs/interop/qcow2.txt, "Bitmaps extension"); returns the bytes read.
  uint64_t read_bitmaps() {
    std::array<uint8_t, kBitmapsExtension> bytes;
    reader_.read_at(at_, bytes, "the qcow2 header");
    at_ += bytes.size();
    header_.bitmaps = be32(bytes, 0);
    header_.bitmap_directory_size = be64(bytes, 8);
    header_.bitmap_directory_offset = be64(bytes, 16);
    return bytes.size();
  }

  void skip(uint64_t length) {
    // The file need not go on behind the last extension's padding.
    reader_.discard(at_, length);
    at_ += length;
  }

  ImageReader& reader_;
  uint64_t at_;
  uint64_t end_;
  Qcow2Header& header_;
  bool names_seen_ = false;
  bool bitmaps_seen_ = false;
};

/// The entries of a bitmap directory by qemu-img's names. Throws kCorruptImage where they do not fit it.
FieldRows list_bitmaps(Bytes directory, uint64_t count) {
  constexpr uint32_t kInUse = 1;
  constexpr uint32_t kAuto = 2;
  FieldRows rows;
  for (uint64_t at = 0; rows.size() < count;) {
    const Bytes entry = slice(directory, at, kBitmapEntry);
    const uint32_t flag_bits = be32(entry, 12);
    const unsigned granularity_bits = entry[17];
    const uint64_t name_at = at + kBitmapEntry + be32(entry, 20);
    const Bytes name = slice(directory, name_at, be16(entry, 18));
    if (granularity_bits > 31) throw Error(code::kCorruptImage, "a bitmap has a granularity beyond 2 GiB");
    std::vector<std::string> flags;
    if ((flag_bits & kInUse) != 0) flags.emplace_back("in-use");
    if ((flag_bits & kAuto) != 0) flags.emplace_back("auto");
    rows.push_back({{"flags", std::move(flags)},
                    {"name", std::string(name.begin(), name.end())},
                    {"granularity", uint64_t{1} << granularity_bits}});
    at = (name_at + name.size() + 7) / 8 * 8;
  }
  return rows;
}

void describe_bitmaps(const Qcow2Header& header, RangeReader& file, DiskInfo& info) {
  const uint64_t size = header.bitmap_directory_size;
  const uint64_t offset = header.bitmap_directory_offset;
  const bool inside = size <= kMaxBitmapDirectory && offset <= file.size() && size <= file.size() - offset;
  try {
    if (!inside) throw Error(code::kCorruptImage, "its directory is not within the file");
    std::vector<uint8_t> directory(static_cast<size_t>(size));
    if (!file.read_at(offset, directory)) return;
    info.specific.push_back({"bitmaps", list_bitmaps(directory, header.bitmaps)});
  } catch (const Error& error) {
    if (error.code() != code::kCorruptImage) throw;
    info.warnings.push_back(std::string("the list of bitmaps cannot be read: ") + error.what());
  }
}

}  // namespace

Qcow2Header read_qcow2_header(ImageReader& reader) {
  std::array<uint8_t, kHeaderV3> fixed{};
  reader.read_at(0, MutableBytes(fixed).first(kHeaderV2), "the qcow2 header");
  Qcow2Header header;
  header.version = be32(fixed, 4);
  if (header.version != 2 && header.version != 3) {
    throw Error(code::kUnsupportedFormat,
                "qcow of version " + std::to_string(header.version) + " is not known, only versions 2 and 3 are");
  }
  check_self_contained(fixed);
  parse_geometry(fixed, reader.limits(), header);
  uint64_t length = kHeaderV2;
  if (header.version == 3) {
    reader.read_at(kHeaderV2, MutableBytes(fixed).subspan(kHeaderV2), "the qcow2 header");
    length = be32(fixed, 100);
    if (length < kHeaderV3 || length % 8 != 0 || length > header.cluster_size()) {
      corrupt("a header of " + std::to_string(length) + " bytes");
    }
    std::array<uint8_t, 8> rest{};
    size_t more = length > kHeaderV3 ? rest.size() : 0;
    reader.read_at(kHeaderV3, MutableBytes(rest).first(more), "the qcow2 header");
    parse_features(fixed, Bytes(rest).first(more), header);
  }
  parse_tables(fixed, header);
  ExtensionReader(reader, length, header).read_all();
  return header;
}

DiskInfo describe_qcow2(const Qcow2Header& header, RangeReader* file) {
  DiskInfo info;
  info.format = "qcow2";
  info.virtual_size = header.virtual_size;
  info.cluster_size = header.cluster_size();
  bool v3 = header.version == 3;
  info.specific.push_back({"compat", std::string(v3 ? "1.1" : "0.10")});
  info.specific.push_back({"compression-type", std::string(header.codec == UnitCodec::kZstd ? "zstd" : "zlib")});
  if (v3) info.specific.push_back({"lazy-refcounts", header.lazy_refcounts});
  if (header.bitmaps != 0 && file != nullptr) describe_bitmaps(header, *file, info);
  info.specific.push_back({"refcount-bits", uint64_t{1} << header.refcount_order});
  if (v3) {
    info.specific.push_back({"corrupt", false});
    info.specific.push_back({"extended-l2", header.extended_l2});
  }
  if (header.dirty) info.warnings.emplace_back("the dirty bit is set: the image was not closed properly");
  if (header.snapshots != 0) {
    info.warnings.push_back(std::to_string(header.snapshots) +
                            " internal snapshots are left out, only the current disk is read");
  }
  return info;
}

}  // namespace dvcr
