// One walk through the members of an archive, from disk to disk. What it meets on the way says which members are disks
// (an OVF descriptor), what their bytes must be (manifests, names of blobs) and what the archive is.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "archive_member.h"
#include "disk_image.h"
#include "hash.h"
#include "layer_files.h"
#include "ovf.h"
#include "tar_members.h"
#include "unpack/unpack.h"

namespace dvcr {

/// Passes a stream on and takes digests of all of it.
class DigestingSource final : public ByteSource {
 public:
  /// `algorithms` as Digest has them; none costs nothing.
  DigestingSource(ByteSource& inner, const std::vector<std::string>& algorithms);
  Bytes peek() override { return last_ = inner_.peek(); }
  void consume(size_t count) override;
  size_t read(MutableBytes out) override;
  uint64_t skip_hole() override { return digests_.empty() ? inner_.skip_hole() : 0; }
  [[nodiscard]] std::optional<uint64_t> size() const override { return inner_.size(); }
  /// Reads to the end; hex by algorithm.
  std::map<std::string, std::string> finish();

 private:
  ByteSource& inner_;
  std::vector<Digest> digests_;
  Bytes last_;
};

class ArchiveWalk {
 public:
  struct Disk {
    TarMember member;
    std::string name;  ///< as in messages: the member, and the file in the layer
    bool in_layer = false;
    std::vector<std::string> wrappings;  ///< around it inside of the archive
  };

  /// `blocks` must outlive this. Without `reads_all` the walk is a glance at the headers: archives within the archive
  /// are noted and not read in search of a container image's disk, and no digests are taken.
  ArchiveWalk(TarBlocks& blocks, const Limits& limits, bool reads_all);

  /// Takes over what a walk before this one has learnt of the whole archive.
  void learn_from(const ArchiveWalk& other);
  /// Walks on to the first byte of the next disk; nothing at the end. Throws like ArchiveSource::open().
  std::optional<Disk> next_disk();
  /// The bytes of the disk that was found last.
  ByteSource& content() { return *content_; }
  /// The first bytes of it (kProbeSize of them, or all), before any was read.
  [[nodiscard]] Bytes head() { return member_->prefix(kProbeSize); }
  /// Call at the end of the walk: throws what open() and finish() of ArchiveSource throw of the whole archive.
  void check() const;
  /// As check(), for a walk that did not read all.
  void check_not_several() const;
  [[nodiscard]] uint64_t trailing() const { return members_.trailing(); }

 private:
  void leave_member();
  void read_ovf();
  void read_manifest();
  [[nodiscard]] std::vector<std::string> wanted_digests(const TarMember& member) const;
  [[nodiscard]] bool is_wanted(const TarMember& member) const;
  bool enter_layer(const TarMember& member, Disk& disk);
  std::vector<uint8_t> read_text();
  void check_digests() const;
  void check_some() const;

  Limits limits_;
  bool reads_all_;
  bool enters_layers_;
  TarMembers members_;
  std::unique_ptr<DigestingSource> digesting_;
  std::unique_ptr<PrefixSource> member_;
  std::unique_ptr<UnpackChain> layer_;
  std::unique_ptr<StreamBlocks> layer_blocks_;
  std::unique_ptr<TarMembers> layer_members_;
  ByteSource* content_ = nullptr;

  std::string current_;                                              // name of the member in hand
  std::map<std::string, std::map<std::string, std::string>> found_;  // digests by member and algorithm
  std::vector<std::string> names_;
  std::vector<Disk> disks_;
  std::vector<std::string> others_;    // disks by content that the OVF does not name
  std::vector<std::string> archives_;  // without a disk that is known of
  std::vector<std::string> hiding_;    // layers that hide something under disk/
  std::vector<std::string> ovf_disks_;
  std::vector<ManifestLine> manifest_;
  bool ovf_seen_ = false;
  bool ignore_ovf_ = false;
  bool manifest_seen_ = false;
  bool container_image_ = false;
};

}  // namespace dvcr
