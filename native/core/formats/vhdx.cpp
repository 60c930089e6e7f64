#include "formats/vhdx.h"

#include <algorithm>

#include "formats/block_map.h"
#include "formats/vhdx_header.h"
#include "formats/vhdx_log.h"

namespace dvcr {

namespace {

constexpr uint64_t kSectorsPerBitmap = uint64_t{1} << 23;
constexpr uint64_t kReservedBits = 0xffff8;
constexpr HostRange kHeaderArea{0, kMiB};

class VhdxImage final : public DiskImage {
 public:
  explicit VhdxImage(ImageReader& reader) : reader_(reader) {
    std::vector<uint8_t> area(kVhdxHeaderAreaSize);
    reader.read_at(0, area, "the VHDX header area");
    if (!has_magic(area, 0, "vhdxfile")) throw Error(code::kCorruptImage, "the VHDX has no signature at byte 0");
    const VhdxHeader header = parse_vhdx_header(area);
    reader.discard(kVhdxHeaderAreaSize, kMiB - kVhdxHeaderAreaSize);
    check_layout({}, {}, {kHeaderArea, header.log});
    if (header.log_is_empty()) {
      reader.discard(header.log.offset, header.log.length);
    } else {
      replay_log(header);
      overlay_.apply(0, area);
    }
    const VhdxRegions regions = parse_vhdx_regions(area);
    tables_ = regions.all;
    tables_.push_back(kHeaderArea);
    tables_.push_back(header.log);
    check_layout({}, {}, tables_);
    read_metadata(regions.metadata);
    table_ = regions.block_table;
    check_table_size();
    info_.format = "vhdx";
    info_.virtual_size = parameters_.virtual_size;
    info_.cluster_size = parameters_.block_size;
  }

  [[nodiscard]] const DiskInfo& info() const override { return info_; }

  void convert(ExtentSink& sink) override {
    const BlockGeometry geometry{.origin = 0, .unit = kMiB, .lead = 0, .block_size = parameters_.block_size};
    const std::vector<uint32_t> places = read_table();
    check_layout(places, geometry, tables_);
    BlockCopier::Patch patch;
    if (!overlay_.empty()) {
      patch = [this](uint64_t host_offset, MutableBytes bytes) { overlay_.apply(host_offset, bytes); };
    }
    BlockCopier copier(reader_, sink, parameters_.virtual_size, patch);
    for (uint32_t place : places) {
      if (place == kNoBlock) {
        copier.zero(geometry.block_size);
      } else {
        copier.data(geometry.data_at(place), geometry.block_size);
      }
    }
    copier.finish();
    require_length();
  }

 private:
  void replay_log(const VhdxHeader& header) {
    const uint64_t length = header.log.length;
    if (length > std::min(kMaxVhdxLog, reader_.limits().max_metadata / 2)) {
      throw Error(code::kDirty, "the VHDX's log of " + std::to_string(length) + " bytes is too large to replay");
    }
    std::vector<uint8_t> log(static_cast<size_t>(length));
    reader_.read_metadata_at(header.log.offset, log, "the VHDX log");
    VhdxReplay replay = replay_vhdx_log(log, header.log_guid, reader_.limits().max_metadata);
    least_size_ = replay.file_size;
    if (const auto size = reader_.size(); size && *size < least_size_) too_short(*size);
    overlay_ = std::move(replay.overlay);
    info_.warnings.push_back("the image was not closed cleanly: " + std::to_string(replay.entries) +
                             " entries of its log were replayed");
  }

  [[noreturn]] void too_short(uint64_t size) const {
    throw Error(code::kTruncated, "the VHDX has " + std::to_string(size) + " bytes, its log says at least " +
                                      std::to_string(least_size_));
  }

  /// Where nobody said how long the file is, its end has to come first.
  void require_length() {
    if (least_size_ <= reader_.position()) return;
    std::array<uint8_t, 1> last;
    reader_.discard(reader_.position(), least_size_ - reader_.position());
    if (reader_.read_some_at(least_size_ - 1, last) == 0) too_short(reader_.position());
  }

  /// Reads bytes of a table, as they are after the log's replay.
  void read_patched(uint64_t host_offset, MutableBytes out, const char* what) {
    reader_.read_metadata_at(host_offset, out, what);
    overlay_.apply(host_offset, out);
  }

  void read_metadata(const HostRange& region) {
    std::vector<uint8_t> bytes(kVhdxMetadataTableSize);
    read_patched(region.offset, bytes, "the VHDX metadata table");
    const VhdxItems items = parse_vhdx_items(bytes, region.length);
    parameters_ = parse_vhdx_parameters(read_values(region.offset, items), reader_.limits().max_virtual_size);
    reader_.discard(region.offset, region.length);
  }

  /// In pieces: the items may stand anywhere in a region of up to 4 GiB, and on each other.
  VhdxValues read_values(uint64_t region_offset, const VhdxItems& items) {
    VhdxValues values{};
    const std::array<HostRange, 3> places{items.parameters, items.virtual_size, items.sector_size};
    const uint64_t start = kVhdxMetadataTableSize;
    for_each_piece(reader_, region_offset + start, items.end() - start, "the VHDX metadata",
                   [&](uint64_t at, MutableBytes piece) {
                     overlay_.apply(region_offset + start + at, piece);
                     for (size_t i = 0; i < places.size(); ++i) {
                       const uint64_t length = std::min<uint64_t>(places[i].length, kVhdxItemSize);
                       for (uint64_t byte = 0; byte < length; ++byte) {
                         const uint64_t from = places[i].offset + byte - start;
                         if (from >= at && from - at < piece.size()) values[i][byte] = piece[from - at];
                       }
                     }
                   });
    return values;
  }

  /// Blocks between two entries that stand for a sector bitmap.
  [[nodiscard]] uint64_t chunk_ratio() const {
    return kSectorsPerBitmap * parameters_.sector_size / parameters_.block_size;
  }
  [[nodiscard]] uint64_t blocks() const { return div_ceil(parameters_.virtual_size, parameters_.block_size); }
  [[nodiscard]] uint64_t table_bytes() const { return (blocks() + (blocks() - 1) / chunk_ratio()) * sizeof(uint64_t); }

  void check_table_size() const {
    if (table_bytes() > table_.length) {
      throw Error(code::kCorruptImage, "the VHDX's block table needs " + std::to_string(table_bytes()) +
                                           " bytes, its region has " + std::to_string(table_.length));
    }
    check_map_budget(blocks(), reader_.limits());
  }

  std::vector<uint32_t> read_table() {
    std::vector<uint32_t> places;
    places.reserve(static_cast<size_t>(blocks()));
    const uint64_t group = chunk_ratio() + 1;
    for_each_piece(reader_, table_.offset, table_bytes(), "the VHDX block table", [&](uint64_t at, MutableBytes piece) {
      overlay_.apply(table_.offset + at, piece);
      for (size_t i = 0; i < piece.size(); i += 8) {
        // Every last entry of a group is a sector bitmap's, which only differencing images use.
        if ((at + i) / 8 % group != group - 1) places.push_back(place_of(le64(piece, i), places.size()));
      }
    });
    reader_.discard(table_.offset, table_.length);
    return places;
  }

  [[nodiscard]] static uint32_t place_of(uint64_t entry, uint64_t block) {
    const uint64_t state = entry & 7;
    const uint64_t place = entry >> 20;
    switch (state) {
      case 0:  // not present
      case 1:  // undefined
      case 2:  // zero
      case 3:  // unmapped
      case 5:  // unmapped, as written before version 1
        return kNoBlock;
      case 6:
        break;
      default:
        throw Error(code::kCorruptImage, "VHDX block " + std::to_string(block) + " is in state " +
                                             std::to_string(state) + ", which an image without a parent cannot have");
    }
    if ((entry & kReservedBits) != 0 || place == 0 || place >= kNoBlock) {
      throw Error(code::kCorruptImage, "VHDX block " + std::to_string(block) + " cannot be at MiB " +
                                           std::to_string(place) + " of the file");
    }
    return static_cast<uint32_t>(place);
  }

  ImageReader& reader_;
  VhdxOverlay overlay_;
  uint64_t least_size_ = 0;  // by the log, 0 without one
  VhdxParameters parameters_;
  HostRange table_;
  std::vector<HostRange> tables_;
  DiskInfo info_;
};

}  // namespace

std::unique_ptr<DiskImage> open_vhdx(ImageReader& reader) {
  return std::make_unique<VhdxImage>(reader);
}

bool probe_vhdx(Bytes head) {
  return has_magic(head, 0, "vhdxfile");
}

}  // namespace dvcr
