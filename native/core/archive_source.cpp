#include "archive_source.h"

#include <algorithm>
#include <array>

#include "archive_walk.h"

namespace dvcr {
namespace {

// Looking ahead through the headers of a tar with very many members costs more than finding out late.
constexpr unsigned kMaxLooks = 256;
constexpr size_t kLookBytes = 64 * kKiB;
constexpr size_t kCompared = 512;

/// Thrown where looking ahead must end before the archive does.
struct LookEnds {};

/// Reads small pieces at any place, so that members' data is passed over.
class RangeBlocks final : public TarBlocks {
 public:
  explicit RangeBlocks(RangeReader& file) : file_(file) {}
  Bytes next() override {
    if (++looks_ > kMaxLooks) throw LookEnds();
    const uint64_t size = file_.size();
    const auto count = static_cast<size_t>(std::min<uint64_t>(kLookBytes, size - std::min(size, at_)));
    buffer_.resize(count);
    if (!file_.read_at(at_, buffer_)) throw LookEnds();
    at_ += count;
    return buffer_;
  }
  uint64_t skip(uint64_t length) override {
    const uint64_t size = file_.size();
    length = std::min(length, size - std::min(size, at_));
    at_ += length;
    return length;
  }
  [[nodiscard]] bool can_skip() const override { return true; }

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

/// True where the member's bytes stand in the file as they are. A sparse member of PAX 1.0 has a map before them, which
/// its header does not show.
bool stands_plainly(RangeReader& file, const TarMember& member, Bytes head) {
  if (member.sparse || member.offset > file.size() || member.size > file.size() - member.offset) return false;
  std::array<uint8_t, kCompared> stored{};
  const size_t count = std::min(stored.size(), head.size());
  return file.read_at(member.offset, MutableBytes(stored).first(count)) &&
         std::equal(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(count), stored.begin());
}

}  // namespace

struct ArchiveSource::Impl {
  Impl(PrefixSource& source, const Limits& limits) : blocks(source), walk(blocks, limits, true) {}

  StreamBlocks blocks;
  ArchiveWalk walk;
  ArchiveWalk::Disk disk;
  std::optional<uint64_t> size;
  std::unique_ptr<MemberRange> range;
};

ArchiveSource::ArchiveSource(PrefixSource& inner, const Limits& limits) : inner_(inner), limits_(limits) {}

ArchiveSource::~ArchiveSource() = default;

void ArchiveSource::open() {
  RangeReader* file = inner_.ranges();
  impl_ = std::make_unique<Impl>(inner_, limits_);
  if (file != nullptr) {
    RangeBlocks blocks(*file);
    ArchiveWalk ahead(blocks, limits_, false);
    try {
      while (ahead.next_disk()) {
      }
      ahead.check();
      impl_->walk.learn_from(ahead);
    } catch (const LookEnds&) {
      ahead.check_not_several();
    }
  }
  std::optional<ArchiveWalk::Disk> disk = impl_->walk.next_disk();
  if (!disk) impl_->walk.check();
  impl_->disk = std::move(*disk);
  impl_->size = impl_->walk.content().size();
  const bool plain = file != nullptr && !impl_->disk.in_layer;
  if (plain && stands_plainly(*file, impl_->disk.member, impl_->walk.head())) {
    impl_->range = std::make_unique<MemberRange>(*file, impl_->disk.member.offset, impl_->disk.member.size);
  }
}

const std::string& ArchiveSource::member() const {
  return impl_->disk.name;
}

std::vector<std::string> ArchiveSource::wrappings() const {
  return impl_->disk.wrappings;
}

void ArchiveSource::finish() {
  while (impl_->walk.next_disk()) {
  }
  impl_->walk.check();
}

uint64_t ArchiveSource::trailing() const {
  return impl_->walk.trailing();
}

Bytes ArchiveSource::peek() {
  return impl_->walk.content().peek();
}

void ArchiveSource::consume(size_t count) {
  impl_->walk.content().consume(count);
}

size_t ArchiveSource::read(MutableBytes out) {
  return impl_->walk.content().read(out);
}

uint64_t ArchiveSource::skip_hole() {
  return impl_->walk.content().skip_hole();
}

std::optional<uint64_t> ArchiveSource::size() const {
  return impl_->size;
}

RangeReader* ArchiveSource::ranges() {
  return inner_.ranges() == nullptr ? nullptr : impl_->range.get();
}

}  // namespace dvcr
