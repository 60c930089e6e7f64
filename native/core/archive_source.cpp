#include "archive_source.h"

#include <algorithm>
#include <array>

#include "disk_image.h"
#include "formats/raw.h"
#include "tar_reader.h"
#include "unpack/unpack.h"

namespace dvcr {
namespace {

constexpr size_t kTarBlock = 512;
// Looking ahead through the headers of a tar with very many members costs more than finding out late.
constexpr unsigned kMaxLooks = 256;
constexpr size_t kLookBytes = 64 * kKiB;
constexpr size_t kMaxListed = 10;

constexpr std::array<std::string_view, 8> kDiskSuffixes = {".vmdk", ".img", ".raw",  ".qcow2",
                                                           ".vdi",  ".vhd", ".vhdx", ".iso"};
constexpr std::array<std::string_view, 4> kPackedSuffixes = {".gz", ".xz", ".zst", ".bz2"};
// What travels with disks; some of it may happen to look like one.
constexpr std::array<std::string_view, 14> kOtherSuffixes = {".ovf", ".mf",     ".cert", ".txt", ".nvram",
                                                             ".xml", ".json",   ".yaml", ".md",  ".log",
                                                             ".sig", ".sha256", ".asc",  ".pem"};

template <size_t N>
std::string_view suffix_of(std::string_view name, const std::array<std::string_view, N>& suffixes) {
  auto found =
      std::find_if(suffixes.begin(), suffixes.end(), [&](std::string_view suffix) { return name.ends_with(suffix); });
  return found == suffixes.end() ? std::string_view() : *found;
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// `disk.vmdk.000000000`: OVF lets a disk be cut into chunks with nine digits at the end (DSP0243, 6.1 ChunkSize).
bool is_chunk(const std::string& name) {
  constexpr size_t kDigits = 9;
  if (name.size() <= kDigits + 1 || name[name.size() - kDigits - 1] != '.') return false;
  bool digits = std::all_of(name.end() - kDigits, name.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits && !suffix_of(name.substr(0, name.size() - kDigits - 1), kDiskSuffixes).empty();
}

bool is_disk(const TarMember& member, Bytes head) {
  std::string name = lower(member.name);
  if (is_chunk(name)) {
    throw Error(code::kMultiFile, "the disk is stored in chunks: " + member.name + "; join them first");
  }
  std::string_view stem = name;
  stem.remove_suffix(suffix_of(stem, kPackedSuffixes).size());
  if (!suffix_of(stem, kOtherSuffixes).empty()) return false;
  bool disk = !suffix_of(stem, kDiskSuffixes).empty() || detect_compression(head) != Compression::kNone ||
              !recognised_format(head).empty() || guess_size(head).has_value();
  if (disk && member.sparse) {
    throw Error(code::kUnsupportedFeature,
                "the disk is stored as a sparse member: " + member.name + "; pack it without --sparse");
  }
  return disk;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMaxListed; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMaxListed) text += " and " + std::to_string(names.size() - kMaxListed) + " more";
  return text;
}

/// What was found in one walk through the members.
struct Inventory {
  std::vector<std::string> members;
  std::vector<std::string> disks;

  void check_not_several() const {
    if (disks.size() > 1) {
      throw Error(code::kSeveralDisks,
                  "the archive holds " + std::to_string(disks.size()) + " disks: " + listed(disks));
    }
  }
  void check_some() const {
    if (!disks.empty()) return;
    throw Error(code::kNoDisk,
                members.empty() ? "the archive is empty" : "the archive holds no disk, only " + listed(members));
  }
};

/// Hands out the stream's own buffers; each is dropped from the stream when the next one is wanted.
class StreamBlocks final : public TarBlocks {
 public:
  explicit StreamBlocks(ByteSource& source) : source_(source) {}
  Bytes next() override {
    source_.consume(given_);
    given_ = 0;
    Bytes bytes = source_.peek();
    given_ = bytes.size();
    return bytes;
  }
  uint64_t skip(uint64_t) override { return 0; }

 private:
  ByteSource& source_;
  size_t given_ = 0;
};

/// Thrown where looking ahead must end before the archive does.
struct LookEnds {};

/// Reads small pieces at any place, so that members' data is passed over.
class RangeBlocks final : public TarBlocks {
 public:
  explicit RangeBlocks(RangeReader& file) : file_(file) {}
  Bytes next() override {
    if (++looks_ > kMaxLooks) throw LookEnds();
    uint64_t size = file_.size();
    auto count = static_cast<size_t>(std::min<uint64_t>(kLookBytes, size - std::min(size, at_)));
    buffer_.resize(count);
    if (!file_.read_at(at_, buffer_)) throw LookEnds();
    at_ += count;
    return buffer_;
  }
  uint64_t skip(uint64_t length) override {
    uint64_t size = file_.size();
    length = std::min(length, size - std::min(size, at_));
    at_ += length;
    return length;
  }

 private:
  RangeReader& file_;
  uint64_t at_ = 0;
  unsigned looks_ = 0;
  std::vector<uint8_t> buffer_;
};

/// One member's place in the file that holds the archive.
class MemberRange final : public RangeReader {
 public:
  MemberRange(RangeReader& file, uint64_t offset, uint64_t size) : file_(file), offset_(offset), size_(size) {}
  [[nodiscard]] uint64_t size() const override { return size_; }

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    if (offset > size_ || out.size() > size_ - offset) {
      throw Error(code::kTruncated, "the archive's member ends at byte " + std::to_string(size_));
    }
    return file_.read_at(offset_ + offset, out);
  }

  RangeReader& file_;
  uint64_t offset_;
  uint64_t size_;
};

std::vector<uint8_t> read_head(TarReader& tar) {
  std::vector<uint8_t> head;
  while (head.size() < kProbeSize) {
    Bytes block = tar.data();
    if (block.empty()) break;
    head.insert(head.end(), block.begin(), block.end());
  }
  return head;
}

/// Walks on to the next disk; `head` is then what was read of it. Nothing at the end of the tar.
std::optional<TarMember> next_disk(TarReader& tar, Inventory& inventory, std::vector<uint8_t>& head) {
  while (std::optional<TarMember> member = tar.next()) {
    inventory.members.push_back(member->name);
    if (!member->regular || member->size == 0) continue;
    head = read_head(tar);
    if (!is_disk(*member, Bytes(head).first(std::min(head.size(), kProbeSize)))) continue;
    inventory.disks.push_back(member->name);
    return member;
  }
  return std::nullopt;
}

void look_ahead(RangeReader& file) {
  Inventory inventory;
  try {
    RangeBlocks blocks(file);
    TarReader tar(blocks);
    std::vector<uint8_t> head;
    while (next_disk(tar, inventory, head)) {
    }
  } catch (const LookEnds&) {
    return inventory.check_not_several();
  }
  inventory.check_some();
  inventory.check_not_several();
}

}  // namespace

bool is_tar(Bytes head) {
  if (head.size() < kTarBlock) return false;
  if (has_magic(head, 257, "ustar")) return true;
  // Unix V7: the sum of the header's bytes, its own field taken as blanks, in octal at byte 148.
  constexpr size_t kSumAt = 148;
  constexpr size_t kSumEnd = 156;
  uint64_t stated = 0;
  size_t at = kSumAt;
  while (at < kSumEnd && head[at] == ' ') ++at;
  size_t digits = at;
  for (; at < kSumEnd && head[at] >= '0' && head[at] <= '7'; ++at) stated = stated * 8 + (head[at] - uint64_t{'0'});
  if (at == digits || head[0] == 0) return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < kTarBlock; ++i) sum += i >= kSumAt && i < kSumEnd ? uint64_t{' '} : head[i];
  return sum == stated;
}

struct ArchiveSource::Impl {
  explicit Impl(PrefixSource& source) : inner(source), blocks(source), tar(blocks) {}

  PrefixSource& inner;
  StreamBlocks blocks;
  TarReader tar;
  Inventory inventory;
  std::optional<TarMember> disk;
  std::unique_ptr<MemberRange> range;
  std::vector<uint8_t> head;
  Bytes rest;  // of the head, then of the block in hand
  uint64_t left = 0;
};

ArchiveSource::ArchiveSource(PrefixSource& inner) : inner_(inner) {}

ArchiveSource::~ArchiveSource() = default;

void ArchiveSource::open() {
  if (RangeReader* file = inner_.ranges()) look_ahead(*file);
  impl_ = std::make_unique<Impl>(inner_);
  impl_->disk = next_disk(impl_->tar, impl_->inventory, impl_->head);
  impl_->inventory.check_some();
  impl_->rest = impl_->head;
  impl_->left = impl_->disk->size;
  if (RangeReader* file = inner_.ranges()) {
    impl_->range = std::make_unique<MemberRange>(*file, impl_->disk->offset, impl_->disk->size);
  }
}

const std::string& ArchiveSource::member() const {
  return impl_->disk->name;
}

void ArchiveSource::finish() {
  impl_->rest = {};
  impl_->left = 0;
  while (next_disk(impl_->tar, impl_->inventory, impl_->head)) {
  }
  impl_->inventory.check_not_several();
}

Bytes ArchiveSource::peek() {
  if (impl_->rest.empty() && impl_->left > 0) impl_->rest = impl_->tar.data();
  return impl_->rest;
}

void ArchiveSource::consume(size_t count) {
  impl_->rest = impl_->rest.subspan(count);
  impl_->left -= count;
}

std::optional<uint64_t> ArchiveSource::size() const {
  return impl_->disk->size;
}

RangeReader* ArchiveSource::ranges() {
  return inner_.ranges() == nullptr ? nullptr : impl_->range.get();
}

}  // namespace dvcr
