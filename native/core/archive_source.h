// A disk image inside of a tar: an OVA, or any tar with exactly one disk in it. Read forward, nothing is stored.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "byte_source.h"

namespace dvcr {

/// True when `head`, the first bytes of a file (at least 512), is a tar header: POSIX and GNU by their magic, older
/// ones by a checksum that fits. A block of zeros is none.
bool is_tar(Bytes head);

/// The bytes of the one disk image in a tar, as a stream of exactly known size.
///
/// Which members are disks is decided by their content, by the same probes as a plain source's; a member without a
/// signature counts when its name ends as disk images do (.img, .raw, .vmdk, …).
class ArchiveSource final : public ByteSource {
 public:
  /// `inner` must be at the first byte of the tar and outlive this.
  explicit ArchiveSource(PrefixSource& inner);
  ~ArchiveSource() override;

  /// Reads to the first byte of the disk. Where `inner` has ranges, all headers are looked at first, so that several
  /// disks are refused before anything is converted. Throws kNoDisk (naming what is there), kSeveralDisks (naming
  /// them), kMultiFile (a disk in chunks), kUnsupportedFeature (the disk is stored as a sparse member), kCorruptImage
  /// (headers), kTruncated, kMetadataLimit (members).
  void open();
  /// Name of the member that is read, as the archive has it; non-printable bytes are replaced.
  [[nodiscard]] const std::string& member() const;
  /// Call when the disk was read: reads the rest of it and of the archive, and refuses a second disk (kSeveralDisks)
  /// as open() does, and anything but zeros behind the archive's end (kCorruptImage).
  void finish();

  Bytes peek() override;
  void consume(size_t count) override;
  /// Exact size of the member in bytes.
  [[nodiscard]] std::optional<uint64_t> size() const override;
  RangeReader* ranges() override;

 private:
  struct Impl;
  PrefixSource& inner_;
  std::unique_ptr<Impl> impl_;  // from open() on
};

}  // namespace dvcr
