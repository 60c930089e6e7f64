#include "tar_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>

namespace dvcr {
namespace {

constexpr size_t kMaxName = 200;

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
      Bytes bytes = reader.blocks_.next();
      reader.at_end_ = bytes.empty();
      *buffer = bytes.data();
      return static_cast<int64_t>(bytes.size());
    });
  }
  static la_int64_t skip(archive* handle, void* self, la_int64_t length) {
    return guarded(handle, self, [&](TarReader& reader) {
      return static_cast<int64_t>(reader.blocks_.skip(static_cast<uint64_t>(length)));
    });
  }
};

TarReader::TarReader(TarBlocks& blocks, uint64_t max_members)
    : blocks_(blocks), handle_(archive_read_new()), max_members_(max_members) {
  if (handle_ == nullptr) throw std::bad_alloc();
  archive_read_support_format_tar(handle_);
  // Others stop at the first end mark; what stands behind it must not go unseen.
  archive_read_set_option(handle_, "tar", "read_concatenated_archives", "1");
  try {
    check(archive_read_open2(handle_, this, nullptr, Callbacks::read, Callbacks::skip, nullptr));
  } catch (...) {
    archive_read_free(handle_);
    throw;
  }
}

TarReader::~TarReader() {
  archive_read_free(handle_);
}

void TarReader::check(int result) {
  if (failure_) std::rethrow_exception(failure_);
  if (result == ARCHIVE_OK || result == ARCHIVE_WARN || result == ARCHIVE_EOF) return;
  std::string at = std::to_string(archive_filter_bytes(handle_, 0));
  if (at_end_) throw Error(code::kTruncated, "the tar ends within a member or header, at byte " + at);
  throw Error(code::kCorruptImage, "the tar has a damaged header at byte " + at);
}

std::optional<TarMember> TarReader::next() {
  archive_entry* entry = nullptr;
  int result = archive_read_next_header(handle_, &entry);
  check(result);
  if (result == ARCHIVE_EOF) return std::nullopt;
  if (++members_ > max_members_) {
    throw Error(code::kMetadataLimit, "the tar has more than " + std::to_string(max_members_) + " members");
  }
  position_ = 0;
  const char* name = archive_entry_pathname_utf8(entry);
  TarMember member;
  member.name = printable(name != nullptr ? name : archive_entry_pathname(entry));
  member.size = static_cast<uint64_t>(std::max<int64_t>(0, archive_entry_size(entry)));
  member.offset = static_cast<uint64_t>(archive_filter_bytes(handle_, 0));
  member.regular = archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr;
  member.directory = archive_entry_filetype(entry) == AE_IFDIR;
  member.sparse = archive_entry_sparse_count(entry) > 0;
  size_ = member.regular ? member.size : 0;
  return member;
}

std::optional<TarPiece> TarReader::piece() {
  const void* bytes = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  do {
    int result = archive_read_data_block(handle_, &bytes, &size, &offset);
    check(result);
    if (result == ARCHIVE_EOF) return std::nullopt;
  } while (size == 0);
  return TarPiece{static_cast<uint64_t>(offset), {static_cast<const uint8_t*>(bytes), size}};
}

Bytes TarReader::data() {
  std::optional<TarPiece> next = piece();
  if (!next && position_ == size_) return {};
  if (!next || next->offset != position_) {
    throw Error(code::kUnsupportedFeature, "the member is stored without its hole at byte " +
                                               std::to_string(position_) + "; pack it without --sparse");
  }
  position_ += next->bytes.size();
  return next->bytes;
}

}  // namespace dvcr
