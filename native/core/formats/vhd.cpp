#include "formats/vhd.h"

#include <algorithm>
#include <bit>

#include "formats/block_map.h"

namespace dvcr {

namespace {

constexpr uint64_t kSector = 512;
constexpr size_t kHeaderSize = 1024;
constexpr size_t kHeaderChecksumAt = 36;
constexpr uint64_t kMaxSectors = 0xff000000;  // 2040 GiB, the format's limit
constexpr uint64_t kMaxBlockSize = 256 * kMiB;

/// The sectors of one block that were written, one bit each, highest bit first.
class SectorBitmap {
 public:
  explicit SectorBitmap(Bytes bits) : bits_(bits) {}
  [[nodiscard]] bool all_set(uint64_t sectors) const { return is_set(0) && run(0, sectors) == sectors; }
  [[nodiscard]] bool is_set(uint64_t sector) const {
    return (bits_[static_cast<size_t>(sector / 8)] >> (7 - sector % 8) & 1) != 0;
  }
  /// How many sectors from `first` on, before `end`, are in the same state.
  [[nodiscard]] uint64_t run(uint64_t first, uint64_t end) const {
    const bool state = is_set(first);
    const uint8_t whole = state ? 0xff : 0;
    uint64_t at = first;
    while (at < end) {
      if (at % 8 == 0 && bits_[static_cast<size_t>(at / 8)] == whole) {
        at += 8;
      } else if (is_set(at) == state) {
        ++at;
      } else {
        break;
      }
    }
    return std::min(at, end) - first;
  }

 private:
  Bytes bits_;
};

class DynamicVhd final : public DiskImage {
 public:
  explicit DynamicVhd(ImageReader& reader) : reader_(reader), footer_bytes_(kVhdFooterSize) {
    reader.read_at(0, footer_bytes_, "the VHD footer's copy");
    footer_ = parse_vhd_footer(footer_bytes_);
    if (footer_.type == VhdType::kDifferencing) {
      throw Error(code::kBackingFile, "the VHD is a differencing one and needs its parent");
    }
    if (footer_.type == VhdType::kFixed) {
      throw Error(code::kCorruptImage, "the VHD begins with a footer of type 2, which stands at the end only");
    }
    parse_header();
    info_.format = "vpc";
    info_.virtual_size = footer_.virtual_size;
    info_.cluster_size = geometry_.block_size;
    if (footer_.virtual_size != footer_.current_size) {
      info_.warnings.push_back("the disk is read with " + std::to_string(footer_.virtual_size) +
                               " bytes, the size of its geometry; the footer says " +
                               std::to_string(footer_.current_size));
    }
    if (footer_.saved_state) info_.warnings.emplace_back("the virtual machine was in a saved state");
  }

  [[nodiscard]] const DiskInfo& info() const override { return info_; }

  void convert(ExtentSink& sink) override {
    const std::vector<uint32_t> table = read_table();
    check_layout(table, geometry_, {{0, kVhdFooterSize}, {footer_.header_offset, kHeaderSize}, table_});
    BlockCopier copier(reader_, sink, footer_.virtual_size);
    std::vector<uint8_t> bits(static_cast<size_t>(geometry_.lead));
    for (uint32_t place : table) {
      if (place == kNoBlock) {
        copier.zero(geometry_.block_size);
      } else {
        copy_block(copier, place, bits);
      }
    }
    copier.finish();
    check_closing_footer();
  }

 private:
  void parse_header() {
    std::vector<uint8_t> header(kHeaderSize);
    if (footer_.header_offset < kVhdFooterSize || footer_.header_offset % kSector != 0) {
      throw Error(code::kCorruptImage,
                  "the VHD's dynamic header cannot be at byte " + std::to_string(footer_.header_offset));
    }
    reader_.read_metadata_at(footer_.header_offset, header, "the VHD's dynamic header");
    if (!has_magic(header, 0, "cxsparse") ||
        vhd_checksum(header, kHeaderChecksumAt) != be32(header, kHeaderChecksumAt)) {
      throw Error(code::kCorruptImage, "the VHD's dynamic header at byte " + std::to_string(footer_.header_offset) +
                                           " has a wrong signature or checksum");
    }
    const uint64_t block_size = be32(header, 32);
    if (!std::has_single_bit(block_size) || block_size < kSector || block_size > kMaxBlockSize) {
      throw Error(code::kCorruptImage, "the VHD's block size is " + std::to_string(block_size));
    }
    const uint64_t bitmap = div_ceil(block_size / kSector, 8 * kSector) * kSector;
    geometry_ = {.origin = 0, .unit = kSector, .lead = bitmap, .block_size = block_size};
    fit_to_table(be32(header, 28));
    check_size(be32(header, 28));
    table_ = {be64(header, 16), uint64_t{be32(header, 28)} * sizeof(uint32_t)};
    if (table_.offset < kVhdFooterSize || table_.offset % kSector != 0) {
      throw Error(code::kCorruptImage, "the VHD's block table cannot be at byte " + std::to_string(table_.offset));
    }
  }

  /// The geometry of a disk may be rounded up where its table was made for its size.
  void fit_to_table(uint64_t entries) {
    const auto fits = [&](uint64_t size) { return div_ceil(size, geometry_.block_size) <= entries; };
    if (!fits(footer_.virtual_size) && fits(footer_.current_size)) {
      footer_.virtual_size = footer_.current_size / kSector * kSector;
    }
  }

  void check_size(uint64_t entries) const {
    const uint64_t size = footer_.virtual_size;
    if (size == 0) throw Error(code::kEmpty, "the VHD's disk has 0 bytes");
    if (size > reader_.limits().max_virtual_size || size / kSector > kMaxSectors) {
      throw Error(code::kTooLarge, "the VHD's disk has " + std::to_string(size) + " bytes");
    }
    if (div_ceil(size, geometry_.block_size) > entries) {
      throw Error(code::kCorruptImage,
                  "the VHD's table has " + std::to_string(entries) + " blocks for " + std::to_string(size) + " bytes");
    }
    check_map_budget(div_ceil(size, geometry_.block_size), reader_.limits());
  }

  std::vector<uint32_t> read_table() {
    const uint64_t blocks = div_ceil(footer_.virtual_size, geometry_.block_size);
    // Reserved, not filled: memory is taken by what arrives, not by what the header says.
    std::vector<uint32_t> table;
    table.reserve(static_cast<size_t>(blocks));
    for_each_piece(reader_, table_.offset, blocks * 4, "the VHD's block table", [&](uint64_t, Bytes piece) {
      for (size_t i = 0; i < piece.size(); i += 4) table.push_back(be32(piece, i));
    });
    return table;
  }

  void copy_block(BlockCopier& copier, uint32_t place, std::vector<uint8_t>& bits) {
    const uint64_t data = geometry_.data_at(place);
    const uint64_t sectors = std::min(geometry_.block_size, footer_.virtual_size - copier.position()) / kSector;
    read_exactly(geometry_.lead_at(place), bits, copier.position());
    const SectorBitmap written(bits);
    if (written.all_set(sectors)) return copier.data(data, geometry_.block_size);
    for (uint64_t sector = 0; sector < sectors;) {
      const uint64_t run = written.run(sector, sectors);
      if (written.is_set(sector)) {
        copier.data(data + sector * kSector, run * kSector);
      } else {
        require_zeros(data + sector * kSector, run * kSector, copier.position());
        copier.zero(run * kSector);
      }
      sector += run;
    }
  }

  void require_zeros(uint64_t host_offset, uint64_t length, uint64_t guest_offset) {
    std::vector<uint8_t> piece(static_cast<size_t>(std::min<uint64_t>(length, 64 * kKiB)));
    for (uint64_t done = 0; done < length;) {
      MutableBytes part =
          MutableBytes(piece).first(static_cast<size_t>(std::min<uint64_t>(length - done, piece.size())));
      read_exactly(host_offset + done, part, guest_offset + done);
      if (!is_zero(part)) {
        throw Error(code::kCorruptImage, "sectors from guest offset " + std::to_string(guest_offset + done) +
                                             " on hold data but are marked as never written");
      }
      done += part.size();
    }
  }

  void read_exactly(uint64_t host_offset, MutableBytes out, uint64_t guest_offset) {
    if (reader_.read_some_at(host_offset, out) == out.size()) return;
    throw Error(code::kTruncated, "the image ends before guest offset " + std::to_string(guest_offset) +
                                      ", which stands at byte " + std::to_string(host_offset));
  }

  /// The stream must end with the footer that it began with: else it was cut short, or two readers, one of which
  /// trusts the end, see two disks.
  void check_closing_footer() {
    constexpr size_t kPiece = 64 * kKiB;
    const uint64_t aligned = div_ceil(reader_.position(), kSector) * kSector;
    std::vector<uint8_t> tail(kPiece + kVhdFooterSize);
    reader_.read_some_at(reader_.position(),
                         MutableBytes(tail).first(static_cast<size_t>(aligned - reader_.position())));
    bool seen = false;  // the footer, at a place before the end
    size_t kept = 0;
    for (size_t got = 1; got != 0;) {
      got = reader_.read_some_at(reader_.position(), MutableBytes(tail).subspan(kept, kPiece));
      const size_t filled = kept + got;
      seen = seen || holds_footer(Bytes(tail).first(filled), kept);
      kept = std::min(filled, kVhdFooterSize);
      std::copy(tail.begin() + static_cast<std::ptrdiff_t>(filled - kept),
                tail.begin() + static_cast<std::ptrdiff_t>(filled), tail.begin());
    }
    Bytes last = Bytes(tail).first(kept);
    if (std::equal(last.begin(), last.end(), footer_bytes_.begin(), footer_bytes_.end())) return;
    if (seen) {
      throw Error(code::kTrailingData,
                  "data follows the VHD's closing footer, up to byte " + std::to_string(reader_.position()));
    }
    if (last.size() < kVhdFooterSize || !probe_vhd(last)) {
      throw Error(code::kTruncated,
                  "the VHD ends at byte " + std::to_string(reader_.position()) + " without its closing footer");
    }
    throw Error(code::kCorruptImage, "the VHD's closing footer at byte " + std::to_string(reader_.position() - kept) +
                                         " differs from its first copy");
  }

  /// Sectors are counted from `start`, which is where one begins in the bytes read last.
  [[nodiscard]] bool holds_footer(Bytes bytes, size_t start) const {
    for (size_t at = start; at + kVhdFooterSize <= bytes.size(); at += kVhdFooterSize) {
      const Bytes sector = bytes.subspan(at, kVhdFooterSize);
      if (std::equal(sector.begin(), sector.end(), footer_bytes_.begin())) return true;
    }
    return false;
  }

  ImageReader& reader_;
  std::vector<uint8_t> footer_bytes_;
  VhdFooter footer_;
  BlockGeometry geometry_;
  HostRange table_;
  DiskInfo info_;
};

}  // namespace

std::unique_ptr<DiskImage> open_dynamic_vhd(ImageReader& reader) {
  return std::make_unique<DynamicVhd>(reader);
}

bool probe_vhd(Bytes head) {
  return has_magic(head, 0, "conectix");
}

std::unique_ptr<DiskImage> open_vhd(ImageReader& reader) {
  return probe_vhd(reader.stream().peek()) ? open_dynamic_vhd(reader) : open_fixed_vhd(reader);
}

}  // namespace dvcr
