// The one disk image inside of a tar: an OVA, a saved container disk (oci-archive, docker-archive), or any tar with
// exactly one disk in it. Read forward, nothing is stored.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "byte_source.h"
#include "import_limits.h"

namespace dvcr {

/// The bytes of the one disk image in a tar, as a stream of exactly known size.
///
/// Where an OVF descriptor comes before it and names disks, these are the disks. Else what is one is decided by
/// content, by the same probes as a plain source's; a member without a signature counts when its name ends as disk
/// images do
/// (.img, .raw, .vmdk, …). In a saved container image it is the file under disk/ of the one layer that has any.
/// Digests of a manifest (OVA) and of blobs' names (OCI) are compared.
class ArchiveSource final : public ByteSource {
 public:
  /// `inner` must be at the first byte of the tar and outlive this.
  ArchiveSource(PrefixSource& inner, const Limits& limits);
  ~ArchiveSource() override;

  /// Reads to the first byte of the disk. Where `inner` has ranges, all headers are looked at first, so that several
  /// disks are refused before anything is converted. Throws kNoDisk (naming what is there), kSeveralDisks (naming
  /// them), kMultiFile (a disk in chunks), kUnsupportedFormat (an archive within the archive), kCorruptArchive
  /// (headers), kTruncated, kMetadataLimit (members).
  void open();
  /// Name of the member that is read, as the archive has it; non-printable bytes are replaced.
  [[nodiscard]] const std::string& member() const;
  /// What is around the disk inside of the archive, outermost first: empty, or the compression of a layer and "tar".
  [[nodiscard]] std::vector<std::string> wrappings() const;
  /// Call when the disk was read: reads the rest of it and of the archive, refuses a second disk (kSeveralDisks) as
  /// open() does, and compares digests (kChecksum).
  void finish();
  /// Bytes behind the archive's end that GNU tar ignores, known after finish().
  [[nodiscard]] uint64_t trailing() const;

  Bytes peek() override;
  void consume(size_t count) override;
  size_t read(MutableBytes out) override;
  uint64_t skip_hole() override;
  /// Exact size of the disk's file in bytes.
  [[nodiscard]] std::optional<uint64_t> size() const override;
  RangeReader* ranges() override;

 private:
  struct Impl;
  PrefixSource& inner_;
  Limits limits_;
  std::unique_ptr<Impl> impl_;  // from open() on
};

}  // namespace dvcr
