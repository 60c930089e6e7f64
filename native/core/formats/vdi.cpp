#include "formats/vdi.h"

#include <bit>

#include "formats/block_map.h"

namespace dvcr {

namespace {

constexpr uint64_t kSector = 512;
constexpr size_t kHeaderSize = 512;
constexpr uint32_t kVersion11 = 0x00010001;
constexpr uint64_t kMaxBlocks = 0x1fffff80;
constexpr uint64_t kMinBlockSize = 4 * kKiB;
constexpr uint64_t kMaxBlockSize = 256 * kMiB;
constexpr uint32_t kDiscarded = 0xfffffffe;

struct VdiHeader {
  BlockGeometry geometry;
  HostRange map;
  uint64_t disk_size = 0;
  uint32_t allocated = 0;
};

[[noreturn]] void corrupt(const std::string& what, uint64_t value) {
  throw Error(code::kCorruptImage, "the VDI header's " + what + " is " + std::to_string(value));
}

void check_kind(Bytes header) {
  const uint32_t version = le32(header, 0x44);
  if (version != kVersion11) {
    throw Error(code::kUnsupportedFeature, "VDI version " + std::to_string(version >> 16) + "." +
                                               std::to_string(version & 0xffff) + "; only 1.1 is read");
  }
  const uint32_t type = le32(header, 0x4c);
  if (type == 3 || type == 4) {
    throw Error(code::kBackingFile, "the VDI is of type " + std::to_string(type) + " and needs its parent");
  }
  if (type != 1 && type != 2) corrupt("image type", type);
  // The link and the parent's identity; set in an image that lies over another one.
  if (!is_zero(slice(header, 0x1a8, 16)) || !is_zero(slice(header, 0x1b8, 16))) {
    throw Error(code::kBackingFile, "the VDI names a parent image");
  }
}

VdiHeader parse_header(Bytes header, const Limits& limits) {
  if (le32(header, 0x40) != 0xbeda107f) corrupt("signature", le32(header, 0x40));
  check_kind(header);
  if (le32(header, 0x168) != kSector) corrupt("sector size", le32(header, 0x168));

  VdiHeader out;
  const uint64_t block_size = le32(header, 0x178);
  const uint64_t extra = le32(header, 0x17c);
  const uint64_t blocks = le32(header, 0x180);
  if (!std::has_single_bit(block_size) || block_size < kMinBlockSize || block_size > kMaxBlockSize) {
    corrupt("block size", block_size);
  }
  if (extra > block_size || extra % kSector != 0) corrupt("extra space of each block", extra);
  if (blocks > kMaxBlocks) corrupt("number of blocks", blocks);
  const uint64_t raw_size = le64(header, 0x170);
  if (raw_size == 0) throw Error(code::kEmpty, "the VDI's disk has 0 bytes");
  if (raw_size > limits.max_virtual_size) {
    throw Error(code::kTooLarge, "the VDI's disk has " + std::to_string(raw_size) + " bytes, more than " +
                                     std::to_string(limits.max_virtual_size));
  }
  if (raw_size > blocks * block_size) corrupt("disk size, larger than its blocks,", raw_size);
  out.disk_size = div_ceil(raw_size, kSector) * kSector;
  out.allocated = le32(header, 0x184);
  if (out.allocated > blocks) corrupt("number of allocated blocks", out.allocated);

  out.map = {le32(header, 0x154), blocks * sizeof(uint32_t)};
  out.geometry = {.origin = le32(header, 0x158), .unit = block_size + extra, .lead = extra, .block_size = block_size};
  if (out.map.offset < kHeaderSize || out.map.offset % kSector != 0) corrupt("block map offset", out.map.offset);
  if (out.geometry.origin % kSector != 0) corrupt("data offset", out.geometry.origin);
  return out;
}

class VdiImage final : public DiskImage {
 public:
  explicit VdiImage(ImageReader& reader) : reader_(reader) {
    std::vector<uint8_t> header(kHeaderSize);
    reader.read_at(0, header, "the VDI header");
    header_ = parse_header(header, reader.limits());
    check_map_budget(used_blocks(), reader.limits());
    info_.format = "vdi";
    info_.virtual_size = header_.disk_size;
    info_.cluster_size = header_.geometry.block_size;
  }

  [[nodiscard]] const DiskInfo& info() const override { return info_; }

  void convert(ExtentSink& sink) override {
    const std::vector<uint32_t> map = read_map();
    check_layout(map, header_.geometry, {{0, kHeaderSize}, header_.map});
    BlockCopier copier(reader_, sink, header_.disk_size);
    for (uint32_t place : map) {
      if (place == kNoBlock) {
        copier.zero(header_.geometry.block_size);
        continue;
      }
      if (header_.geometry.lead != 0) reader_.discard(header_.geometry.lead_at(place), header_.geometry.lead);
      copier.data(header_.geometry.data_at(place), header_.geometry.block_size);
    }
    copier.finish();
  }

 private:
  [[nodiscard]] uint64_t used_blocks() const { return div_ceil(header_.disk_size, header_.geometry.block_size); }

  std::vector<uint32_t> read_map() {
    // Reserved, not filled: memory is taken by what arrives, not by what the header says.
    std::vector<uint32_t> map;
    map.reserve(static_cast<size_t>(used_blocks()));
    for_each_piece(reader_, header_.map.offset, used_blocks() * 4, "the VDI block map", [&](uint64_t, Bytes piece) {
      for (size_t i = 0; i < piece.size(); i += 4) map.push_back(check_entry(le32(piece, i), map.size()));
    });
    reader_.discard(header_.map.offset, header_.map.length);
    return map;
  }

  [[nodiscard]] uint32_t check_entry(uint32_t entry, uint64_t block) const {
    if (entry == kNoBlock || entry == kDiscarded) return kNoBlock;
    if (entry >= header_.allocated) {
      throw Error(code::kCorruptImage, "VDI block " + std::to_string(block) + " is number " + std::to_string(entry) +
                                           " of " + std::to_string(header_.allocated) + " allocated ones");
    }
    return entry;
  }

  ImageReader& reader_;
  VdiHeader header_;
  DiskInfo info_;
};

}  // namespace

std::unique_ptr<DiskImage> open_vdi(ImageReader& reader) {
  return std::make_unique<VdiImage>(reader);
}

bool probe_vdi(Bytes head) {
  return has_magic(head, 0x40, "\x7f\x10\xda\xbe");
}

}  // namespace dvcr
