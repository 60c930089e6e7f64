// The members of a tar, pulled one block at a time. Thin over libarchive, linked statically with its tar reader only:
// it is pull-based and bounded, and knows the dialects (POSIX, PAX, GNU, old) better than a reader of our own would.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  /// True when skip() can do that.
  [[nodiscard]] virtual bool can_skip() const { return false; }
  /// What is asked for next is no part of what was asked for before, a header for instance.
  virtual void begin_call() {}
};

/// True when `head`, the first bytes of a file (at least 512), is a tar header: POSIX and GNU by their magic, older
/// ones by a checksum that fits. A block of zeros is none.
bool is_tar(Bytes head);

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

  /// Goes to the next member, past what is left of this one; nothing at the end of the tar. What stands behind its end
  /// mark is looked at: members of a further tar are returned as well, anything else is counted by trailing(). Throws
  /// kCorruptArchive, kTruncated, kMetadataLimit (members) and what the blocks throw.
  std::optional<TarMember> next();
  /// The next stored piece of the member, with bytes in it, nothing after the last; valid until the next call. In
  /// ascending order. Throws like next().
  std::optional<TarPiece> piece();
  /// Bytes behind the end mark that are neither zeros nor a further tar; known once next() returned nothing, and only
  /// where the blocks had to be read.
  [[nodiscard]] uint64_t trailing() const { return trailing_; }

 private:
  struct Callbacks;
  struct FreeArchive {
    void operator()(archive* handle) const;
  };
  void open();
  void check(int result);
  Bytes feed();
  [[nodiscard]] std::vector<uint8_t> unread();
  bool find_next_tar();

  TarBlocks& blocks_;
  std::unique_ptr<archive, FreeArchive> handle_;
  std::exception_ptr failure_;  // must not fly through C
  bool at_end_ = false;
  uint64_t max_members_;
  uint64_t members_ = 0;
  uint64_t base_ = 0;              // where the tar in hand begins (bytes)
  uint64_t given_ = 0;             // bytes handed to the library since then
  Bytes block_;                    // the last of them
  std::vector<uint8_t> before_;    // the end of those before
  std::vector<uint8_t> returned_;  // to be handed out before the next block
  std::vector<uint8_t> in_hand_;   // what block_ looks at then
  uint64_t trailing_ = 0;
};

}  // namespace dvcr
