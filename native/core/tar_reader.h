// The members of a tar, pulled one block at a time. Thin over libarchive, linked statically with its tar reader only:
// it is pull-based and bounded, and knows the dialects (POSIX, PAX, GNU, old) better than a reader of our own would.
#pragma once

#include <exception>
#include <optional>
#include <string>

#include "bytes.h"

struct archive;

namespace dvcr {

/// Where a TarReader takes its bytes from.
class TarBlocks {
 public:
  virtual ~TarBlocks() = default;
  /// The next bytes, none at the end; valid until the next call. May throw.
  virtual Bytes next() = 0;
  /// Skips up to `length` bytes without reading them; returns how many. May throw.
  virtual uint64_t skip(uint64_t length) = 0;
};

struct TarMember {
  std::string name;      ///< printable: other bytes are replaced, long names are cut
  uint64_t size = 0;     ///< bytes
  uint64_t offset = 0;   ///< of its data from the start of the tar (bytes)
  bool regular = false;  ///< a file with data of its own: no directory, no link
  bool directory = false;
  bool sparse = false;  ///< known by its header to be stored with holes left out; PAX 1.0 shows it only in its data
};

/// Stored bytes of a member and where in the file they belong; what no piece covers is zeros.
struct TarPiece {
  uint64_t offset = 0;  ///< bytes
  Bytes bytes;
};

class TarReader {
 public:
  /// A disk archive has few members; more than `max_members` are kMetadataLimit.
  explicit TarReader(TarBlocks& blocks, uint64_t max_members = 4096);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// Goes to the next member, past what is left of this one; nothing at the end of the tar. Zeros may follow the end,
  /// further members behind it are given as well. Throws kCorruptImage, kTruncated, kMetadataLimit (members) and what
  /// the blocks throw.
  std::optional<TarMember> next();
  /// The next stored piece of the member, with bytes in it, nothing after the last; valid until the next call. In
  /// ascending order. Throws like next().
  std::optional<TarPiece> piece();
  /// The bytes of the next piece, none at the member's end. Throws like next(), and kUnsupportedFeature where a hole
  /// was left out before them.
  Bytes data();

 private:
  struct Callbacks;
  void check(int result);

  TarBlocks& blocks_;
  archive* handle_;
  std::exception_ptr failure_;  // must not fly through C
  bool at_end_ = false;
  uint64_t max_members_;
  uint64_t members_ = 0;
  uint64_t position_ = 0;  // in the member
  uint64_t size_ = 0;      // of a regular member's data
};

}  // namespace dvcr
