#include "tar_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>

namespace dvcr {
namespace {

constexpr size_t kMaxName = 200;
constexpr size_t kTarBlock = 512;
constexpr size_t kSumAt = 148;
constexpr size_t kSumEnd = 156;
/// The library looks at no more than two blocks before it takes them.
constexpr size_t kKeptBefore = 8 * kTarBlock;

/// True when the sum of the header's bytes, its own field taken as blanks, stands in octal at byte 148.
bool checksum_fits(Bytes head) {
  uint64_t stated = 0;
  size_t at = kSumAt;
  while (at < kSumEnd && head[at] == ' ') ++at;
  const size_t digits = at;
  for (; at < kSumEnd && head[at] >= '0' && head[at] <= '7'; ++at) stated = stated * 8 + (head[at] - uint64_t{'0'});
  if (at == digits) return false;
  uint64_t sum = 0;
  for (size_t i = 0; i < kTarBlock; ++i) sum += i >= kSumAt && i < kSumEnd ? uint64_t{' '} : head[i];
  return sum == stated;
}

std::string printable(const char* name) {
  if (name == nullptr) return "(a name that cannot be read)";
  std::string text(name);
  text.resize(std::min(text.size(), kMaxName));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

}  // namespace

struct TarReader::Callbacks {
  // Runs `work` on the reader's blocks; what it throws is kept until the library has returned.
  template <typename Work>
  static int64_t guarded(archive* handle, void* self, Work work) {
    auto& reader = *static_cast<TarReader*>(self);
    try {
      return work(reader);
    } catch (...) {
      reader.failure_ = std::current_exception();
      archive_set_error(handle, EIO, "reading failed");
      return ARCHIVE_FATAL;
    }
  }
  static la_ssize_t read(archive* handle, void* self, const void** buffer) {
    return guarded(handle, self, [&](TarReader& reader) {
      Bytes bytes = reader.feed();
      reader.at_end_ = bytes.empty();
      *buffer = bytes.data();
      return static_cast<int64_t>(bytes.size());
    });
  }
  static la_int64_t skip(archive* handle, void* self, la_int64_t length) {
    return guarded(handle, self, [&](TarReader& reader) {
      if (!reader.returned_.empty()) return int64_t{0};
      const uint64_t skipped = reader.blocks_.skip(static_cast<uint64_t>(length));
      if (skipped > 0) {
        reader.before_.clear();
        reader.block_ = {};
      }
      reader.given_ += skipped;
      return static_cast<int64_t>(skipped);
    });
  }
};

void TarReader::FreeArchive::operator()(archive* handle) const {
  archive_read_free(handle);
}

TarReader::TarReader(TarBlocks& blocks, uint64_t max_members) : blocks_(blocks), max_members_(max_members) {
  open();
}

TarReader::~TarReader() = default;

void TarReader::open() {
  handle_.reset(archive_read_new());
  if (!handle_) throw std::bad_alloc();
  given_ = 0;
  archive_read_support_format_tar(handle_.get());
  check(archive_read_open2(handle_.get(), this, nullptr, Callbacks::read, Callbacks::skip, nullptr));
}

/// The next bytes for the library; the end of those before is kept, as it may not take all that it is given.
Bytes TarReader::feed() {
  before_.insert(before_.end(), block_.end() - static_cast<std::ptrdiff_t>(std::min(block_.size(), kKeptBefore)),
                 block_.end());
  if (before_.size() > kKeptBefore) {
    before_.erase(before_.begin(), before_.end() - static_cast<std::ptrdiff_t>(kKeptBefore));
  }
  block_ = {};
  if (!returned_.empty()) {
    in_hand_ = std::move(returned_);
    returned_.clear();
    block_ = in_hand_;
  } else {
    block_ = blocks_.next();
  }
  given_ += block_.size();
  return block_;
}

/// What the library was given and has not taken, when it has met the end mark.
std::vector<uint8_t> TarReader::unread() {
  const uint64_t taken = static_cast<uint64_t>(archive_filter_bytes(handle_.get(), 0));
  const auto left = static_cast<size_t>(std::min(given_ - std::min(given_, taken), given_));
  if (left > before_.size() + block_.size()) {
    throw Error(code::kInternal, "the tar library holds back " + std::to_string(left) + " bytes");
  }
  std::vector<uint8_t> rest;
  if (left > block_.size()) {
    rest.assign(before_.end() - static_cast<std::ptrdiff_t>(left - block_.size()), before_.end());
  }
  const size_t of_block = std::min(left, block_.size());
  rest.insert(rest.end(), block_.end() - static_cast<std::ptrdiff_t>(of_block), block_.end());
  base_ += taken;
  return rest;
}

/// Goes on behind the end mark of the tar in hand. True at another tar, which must not go unseen: GNU tar reads it
/// with --ignore-zeros alone. Zeros and what else follows belong to nobody; then false.
bool TarReader::find_next_tar() {
  std::vector<uint8_t> rest = unread();
  before_.clear();
  block_ = {};
  for (;;) {
    const auto data = std::find_if(rest.begin(), rest.end(), [](uint8_t byte) { return byte != 0; });
    // Blocks are counted from the beginning of the tar.
    const auto zeros = static_cast<size_t>(data - rest.begin()) / kTarBlock * kTarBlock;
    base_ += zeros;
    rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(zeros));
    if (rest.size() >= kTarBlock) break;
    blocks_.begin_call();
    Bytes more = blocks_.next();
    if (more.empty()) break;
    rest.insert(rest.end(), more.begin(), more.end());
  }
  if (rest.size() >= kTarBlock && is_tar(rest) && checksum_fits(rest)) {
    returned_ = std::move(rest);
    open();
    return true;
  }
  if (is_zero(rest)) return false;
  trailing_ = rest.size();
  if (blocks_.can_skip()) return false;
  for (;;) {
    blocks_.begin_call();
    Bytes more = blocks_.next();
    if (more.empty()) return false;
    trailing_ += more.size();
  }
}

void TarReader::check(int result) {
  if (failure_) std::rethrow_exception(failure_);
  if (result == ARCHIVE_OK || result == ARCHIVE_WARN || result == ARCHIVE_EOF) return;
  std::string at = std::to_string(base_ + static_cast<uint64_t>(archive_filter_bytes(handle_.get(), 0)));
  if (at_end_) throw Error(code::kTruncated, "the tar ends within a member or header, at byte " + at);
  throw Error(code::kCorruptArchive, "the tar has a damaged header at byte " + at);
}

std::optional<TarMember> TarReader::next() {
  archive_entry* entry = nullptr;
  for (;;) {
    int result = archive_read_next_header(handle_.get(), &entry);
    check(result);
    if (result != ARCHIVE_EOF) break;
    if (!find_next_tar()) return std::nullopt;
  }
  if (++members_ > max_members_) {
    throw Error(code::kMetadataLimit, "the tar has more than " + std::to_string(max_members_) + " members");
  }
  const char* name = archive_entry_pathname_utf8(entry);
  TarMember member;
  member.name = printable(name != nullptr ? name : archive_entry_pathname(entry));
  member.size = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_size(entry)));
  member.offset = base_ + static_cast<uint64_t>(archive_filter_bytes(handle_.get(), 0));
  member.regular = archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr;
  member.directory = archive_entry_filetype(entry) == AE_IFDIR;
  member.sparse = archive_entry_sparse_count(entry) > 0;
  return member;
}

std::optional<TarPiece> TarReader::piece() {
  const void* bytes = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  do {
    int result = archive_read_data_block(handle_.get(), &bytes, &size, &offset);
    check(result);
    if (result == ARCHIVE_EOF) return std::nullopt;
  } while (size == 0);
  return TarPiece{static_cast<uint64_t>(offset), {static_cast<const uint8_t*>(bytes), size}};
}

bool is_tar(Bytes head) {
  if (head.size() < kTarBlock) return false;
  // Unix V7 has no magic.
  return has_magic(head, 257, "ustar") || (head[0] != 0 && checksum_fits(head));
}

}  // namespace dvcr
