// What stands between a source's bytes and the disk image: outer compression, an archive around the one disk, and
// compression inside of the archive. Each may be absent; the disk image sees only the innermost bytes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive_source.h"
#include "unpack/unpack.h"

namespace dvcr {

class Content {
 public:
  /// Looks at the first bytes of `source`, which must outlive this. With `opaque` nothing is interpreted: the bytes are
  /// a disk's own, whatever they look like, within the `declared` compression. Throws like UnpackChain and
  /// ArchiveSource::open.
  Content(ByteSource& source, const Limits& limits, unsigned threads, bool opaque,
          Compression declared = Compression::kNone);

  /// The innermost bytes.
  PrefixSource& output() { return *output_; }
  /// What was around them, outermost first: names of compressions, and "tar".
  [[nodiscard]] const std::vector<std::string>& wrappings() const { return wrappings_; }
  /// What the innermost compression says of the unpacked size.
  [[nodiscard]] std::optional<SizeHint> size_hint() const;
  /// True where the end of the compressed file says this unpacked size as well; only known where it can be asked for.
  [[nodiscard]] bool end_says(uint64_t size) const;
  /// Reads every layer to its end, innermost first, so that truncation, a second disk and trailing data are noticed.
  /// Data behind a complete gzip stream is accepted where the disk in it is known to be whole: its own format was read
  /// to the end, or its partition table does not reach further. Throws kTrailingData else, and what ArchiveSource does.
  void finish();
  /// What was accepted and may surprise, one line each; known after finish().
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  void note(const UnpackChain& chain);
  [[nodiscard]] bool is_whole(uint64_t unpacked) const;
  void finish(UnpackChain& chain);

  std::optional<PrefixSource> plain_;
  std::optional<UnpackChain> outer_;
  std::optional<ArchiveSource> archive_;
  std::optional<UnpackChain> inner_;
  PrefixSource* output_;
  std::vector<std::string> wrappings_;
  std::vector<uint8_t> head_;  // of what gzip unpacks to
  std::vector<std::string> warnings_;
};

}  // namespace dvcr
