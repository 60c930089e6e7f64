#include "formats/raw.h"

#include <algorithm>
#include <array>
#include <utility>

#include "formats/refused.h"
#include "formats/vhd_footer.h"

namespace dvcr {

namespace {

// The partition table of a disk's first sector: four entries of 16 bytes before the magic (UEFI 2.10, 5.2.1).
constexpr size_t kMbrTable = 446;
constexpr size_t kMbrEntry = 16;
constexpr size_t kMbrEntries = 4;
constexpr size_t kMbrMagic = 510;
constexpr uint64_t kMbrSector = 512;
constexpr uint8_t kMbrActive = 0x80;
constexpr uint8_t kMbrProtective = 0xee;
constexpr uint64_t kIsoSector = 2048;
constexpr uint64_t kFirstDescriptor = 16 * kIsoSector;

/// The last bytes of a stream, as many as show a VHD's footer that is not quite at its end.
class Tail {
 public:
  void add(Bytes bytes) {
    if (bytes.size() > bytes_.size()) bytes = bytes.last(bytes_.size());
    std::move(bytes_.begin() + static_cast<std::ptrdiff_t>(bytes.size()), bytes_.end(), bytes_.begin());
    std::copy(bytes.begin(), bytes.end(), bytes_.end() - static_cast<std::ptrdiff_t>(bytes.size()));
  }
  void add_zeros(uint64_t length) {
    static constexpr std::array<uint8_t, 2 * kVhdFooterSize> kZeros{};
    add(Bytes(kZeros).first(static_cast<size_t>(std::min<uint64_t>(length, kZeros.size()))));
  }
  /// The last 512 bytes.
  [[nodiscard]] Bytes bytes() const { return Bytes(bytes_).last(kVhdFooterSize); }
  /// How many bytes, less than 512, stand behind a footer; nothing where there is none.
  [[nodiscard]] std::optional<size_t> behind_footer() const {
    for (size_t behind = 1; behind < kVhdFooterSize; ++behind) {
      if (is_vhd_footer(Bytes(bytes_).subspan(kVhdFooterSize - behind, kVhdFooterSize))) return behind;
    }
    return std::nullopt;
  }

 private:
  std::array<uint8_t, 2 * kVhdFooterSize> bytes_{};
};

class RawImage final : public DiskImage {
 public:
  RawImage(std::string format, ImageReader& reader, bool undeclared = false)
      : reader_(reader), undeclared_(undeclared) {
    info_.format = std::move(format);
    info_.virtual_size = reader.size();
  }

  [[nodiscard]] const DiskInfo& info() const override { return info_; }

  void convert(ExtentSink& sink) override {
    uint64_t total = 0;
    Tail tail;
    const auto admit = [&](uint64_t count) {
      total += count;
      if (total > reader_.limits().max_virtual_size) {
        throw Error(code::kTooLarge, "the disk has more than the limit of " +
                                         std::to_string(reader_.limits().max_virtual_size) + " bytes");
      }
    };
    for (;;) {
      if (const uint64_t hole = reader_.stream().skip_hole(); hole > 0) {
        admit(hole);
        tail.add_zeros(hole);
        sink.zero(hole);
        continue;
      }
      MutableBytes room = sink.reserve(kMiB);
      size_t got = reader_.stream().read(room);
      admit(got);
      if (undeclared_) tail.add(room.first(got));
      sink.commit(got);
      if (got < room.size()) break;
    }
    if (!undeclared_) return;
    if (is_vhd_footer(tail.bytes())) {
      throw Error(code::kUndeclaredVhd,
                  "the last 512 of " + std::to_string(total) + " bytes are the footer of a fixed VHD");
    }
    if (const std::optional<size_t> behind = tail.behind_footer()) {
      throw Error(code::kTrailingData, "the file is a fixed VHD with " + std::to_string(*behind) +
                                           " bytes behind its footer, which must be its last 512 of " +
                                           std::to_string(total));
    }
    if (const RefusedFormat* refused = refused_trailer(tail.bytes())) throw_refused(*refused);
  }

  void warn(std::string warning) { info_.warnings.push_back(std::move(warning)); }

 private:
  ImageReader& reader_;
  bool undeclared_;
  DiskInfo info_;
};

std::optional<SizeGuess> guess_gpt(Bytes head, uint64_t sector) {
  if (!has_magic(head, sector, "EFI PART") || head.size() < sector + 92) return std::nullopt;
  uint64_t own = le64(head, sector + 24);
  uint64_t backup = le64(head, sector + 32);
  uint64_t first_usable = le64(head, sector + 40);
  uint64_t last_usable = le64(head, sector + 48);
  bool plausible = own == 1 && first_usable > own && last_usable >= first_usable && backup > last_usable &&
                   backup < UINT64_MAX / sector;
  if (!plausible) return std::nullopt;
  return SizeGuess{(backup + 1) * sector, "gpt"};
}

std::optional<SizeGuess> guess_iso(Bytes head) {
  if (!has_magic(head, kFirstDescriptor, "\1CD001\1") || head.size() < kFirstDescriptor + kIsoSector) {
    return std::nullopt;
  }
  Bytes volume = slice(head, kFirstDescriptor, kIsoSector);
  uint64_t blocks = le32(volume, 80);
  uint64_t block_size = le16(volume, 128);
  // Both numbers are recorded in both byte orders.
  if (blocks != be32(volume, 84) || block_size != be16(volume, 130)) return std::nullopt;
  if (blocks <= 16 || block_size < 512 || (block_size & (block_size - 1)) != 0) return std::nullopt;
  return SizeGuess{blocks * block_size, "iso"};
}

}  // namespace

bool probe_iso(Bytes head) {
  // ECMA-167 part 2: a sequence of 2048-byte descriptors from sector 16, ISO 9660's and UDF's one after the other.
  bool extended = false;
  for (uint64_t at = kFirstDescriptor; at < head.size(); at += kIsoSector) {
    if (has_magic(head, at + 1, "CD001")) return true;
    if (extended && (has_magic(head, at + 1, "NSR02") || has_magic(head, at + 1, "NSR03"))) return true;
    if (has_magic(head, at + 1, "BEA01")) extended = true;
    if (!extended) return false;
  }
  return false;
}

std::unique_ptr<DiskImage> open_iso(ImageReader& reader) {
  return std::make_unique<RawImage>("iso", reader);
}

std::unique_ptr<DiskImage> open_raw(ImageReader& reader) {
  return std::make_unique<RawImage>("raw", reader);
}

std::unique_ptr<DiskImage> open_undeclared_raw(ImageReader& reader, bool recognised) {
  auto image = std::make_unique<RawImage>("raw", reader, true);
  if (!recognised) {
    image->warn(
        "nothing was recognised at the beginning, neither a partition table nor a file system: it is stored as "
        "a raw disk all the same");
  }
  return image;
}

std::optional<SizeGuess> guess_size(Bytes head) {
  for (uint64_t sector : {uint64_t{512}, uint64_t{4096}}) {
    if (auto guess = guess_gpt(head, sector)) return guess;
  }
  return guess_iso(head);
}

uint64_t partitions_end(Bytes head) {
  if (!has_magic(head, kMbrMagic, "\x55\xaa")) return 0;
  uint64_t end = 0;
  for (size_t i = 0; i < kMbrEntries; ++i) {
    Bytes entry = slice(head, kMbrTable + i * kMbrEntry, kMbrEntry);
    bool is_status = entry[0] == 0 || entry[0] == kMbrActive;
    // A boot sector of a file system ends with the same magic and holds code here.
    if (!is_status || entry[4] == kMbrProtective) return 0;
    if (entry[4] != 0) end = std::max(end, (uint64_t{le32(entry, 8)} + le32(entry, 12)) * kMbrSector);
  }
  return end;
}

}  // namespace dvcr
