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
  bool sparse = false;   ///< stored with holes left out
};

class TarReader {
 public:
  explicit TarReader(TarBlocks& blocks);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// Goes to the next member, past what is left of this one; nothing at the end of the tar. Zeros may follow the end,
  /// further members behind it are given as well. Throws kCorruptImage, kTruncated, kMetadataLimit (more than 4096
  /// members) and what the blocks throw.
  std::optional<TarMember> next();
  /// The next bytes of the member's data, none at its end; valid until the next call. Throws like next().
  Bytes data();

 private:
  struct Callbacks;
  void check(int result);

  TarBlocks& blocks_;
  archive* handle_;
  std::exception_ptr failure_;  // must not fly through C
  bool at_end_ = false;
  unsigned members_ = 0;
};

}  // namespace dvcr
