#include <algorithm>
#include <array>

#include "formats/vhd.h"

namespace dvcr {

namespace {

constexpr size_t kPiece = kMiB;

class FixedVhd final : public DiskImage {
 public:
  explicit FixedVhd(ImageReader& reader) : reader_(reader) {
    info_.format = "vpc";
    info_.footer_size = kVhdFooterSize;
    const auto length = reader.size();
    if (!length) return;
    if (*length < kVhdFooterSize) throw too_short(*length);
    info_.virtual_size = *length - kVhdFooterSize;
    check_size(*info_.virtual_size);
    if (!reader.has_ranges()) return;
    std::vector<uint8_t> footer(kVhdFooterSize);
    if (reader.stream().ranges()->read_at(*info_.virtual_size, footer)) check_footer(footer, *info_.virtual_size);
  }

  [[nodiscard]] const DiskInfo& info() const override { return info_; }

  void convert(ExtentSink& sink) override {
    // The last 512 bytes seen so far are kept back: they may be the footer.
    std::vector<uint8_t> buffer(kPiece + kVhdFooterSize);
    size_t kept = 0;
    uint64_t emitted = 0;
    for (;;) {
      const size_t got = reader_.read_some_at(emitted + kept, MutableBytes(buffer).subspan(kept, kPiece));
      if (got == 0) break;
      const size_t filled = kept + got;
      kept = std::min(filled, kVhdFooterSize);
      const size_t disk = filled - kept;
      if (emitted + disk > reader_.limits().max_virtual_size) check_size(emitted + disk);
      write(sink, Bytes(buffer).first(disk));
      emitted += disk;
      std::copy_n(buffer.begin() + static_cast<std::ptrdiff_t>(disk), kept, buffer.begin());
    }
    if (kept < kVhdFooterSize) throw too_short(kept);
    check_footer(Bytes(buffer).first(kVhdFooterSize), emitted);
  }

 private:
  static Error too_short(uint64_t length) {
    return {code::kTruncated, "the file has " + std::to_string(length) + " bytes, a fixed VHD has 512 and its disk"};
  }

  void check_size(uint64_t disk_size) const {
    if (disk_size == 0) throw Error(code::kEmpty, "the VHD's disk has 0 bytes");
    if (disk_size > reader_.limits().max_virtual_size) {
      throw Error(code::kTooLarge, "the VHD's disk has " + std::to_string(disk_size) + " bytes or more");
    }
  }

  void check_footer(Bytes bytes, uint64_t disk_size) const {
    const VhdFooter footer = parse_vhd_footer(bytes);
    if (footer.type == VhdType::kDifferencing) {
      throw Error(code::kBackingFile, "the VHD is a differencing one and needs its parent");
    }
    if (footer.type != VhdType::kFixed) {
      throw Error(code::kCorruptImage, "the VHD's footer at byte " + std::to_string(disk_size) +
                                           " is of a dynamic disk, which must begin with a copy of it");
    }
    check_size(disk_size);
    if (footer.current_size != disk_size) {
      throw Error(code::kSizeMismatch, "the VHD's footer says " + std::to_string(footer.current_size) +
                                           " bytes, the file holds " + std::to_string(disk_size));
    }
  }

  static void write(ExtentSink& sink, Bytes bytes) {
    while (!bytes.empty()) {
      MutableBytes room = sink.reserve(bytes.size());
      std::copy_n(bytes.begin(), room.size(), room.begin());
      sink.commit(room.size());
      bytes = bytes.subspan(room.size());
    }
  }

  ImageReader& reader_;
  DiskInfo info_;
};

}  // namespace

std::unique_ptr<DiskImage> open_fixed_vhd(ImageReader& reader) {
  return std::make_unique<FixedVhd>(reader);
}

bool ends_with_vhd_footer(ByteSource& source) {
  RangeReader* ranges = source.ranges();
  if (ranges == nullptr || ranges->size() < 2 * kVhdFooterSize) return false;
  std::array<uint8_t, kVhdFooterSize> footer{};
  return ranges->read_at(ranges->size() - footer.size(), footer) && is_vhd_footer(footer);
}

}  // namespace dvcr
