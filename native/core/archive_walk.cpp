#include "archive_walk.h"

#include <algorithm>
#include <limits>

namespace dvcr {
namespace {

constexpr uint64_t kMaxMembers = 4096;
constexpr size_t kMaxListed = 10;

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMaxListed; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMaxListed) text += " and " + std::to_string(names.size() - kMaxListed) + " more";
  return text;
}

/// Reads `source` to its end.
void drain(ByteSource& source) {
  for (Bytes rest = source.peek(); !rest.empty(); rest = source.peek()) source.consume(rest.size());
}

}  // namespace

DigestingSource::DigestingSource(ByteSource& inner, const std::vector<std::string>& algorithms) : inner_(inner) {
  for (const std::string& algorithm : algorithms) digests_.emplace_back(algorithm);
}

void DigestingSource::consume(size_t count) {
  for (Digest& digest : digests_) digest.update(last_.first(count));
  last_ = last_.subspan(count);
  inner_.consume(count);
}

size_t DigestingSource::read(MutableBytes out) {
  const size_t got = inner_.read(out);
  for (Digest& digest : digests_) digest.update(out.first(got));
  return got;
}

std::map<std::string, std::string> DigestingSource::finish() {
  if (digests_.empty()) return {};
  drain(*this);
  std::map<std::string, std::string> found;
  for (Digest& digest : digests_) found.emplace(digest.algorithm(), digest.finish());
  digests_.clear();
  return found;
}

ArchiveWalk::ArchiveWalk(TarBlocks& blocks, const Limits& limits, bool reads_all)
    : limits_(limits), reads_all_(reads_all), enters_layers_(reads_all), members_(blocks, kMaxMembers) {}

void ArchiveWalk::learn_from(const ArchiveWalk& other) {
  manifest_ = other.manifest_;
  manifest_seen_ = other.manifest_seen_;
  // What the descriptor names and the archive does not hold is not missed where there is another disk.
  const bool named = std::any_of(other.disks_.begin(), other.disks_.end(), [&](const Disk& disk) {
    return std::any_of(other.ovf_disks_.begin(), other.ovf_disks_.end(),
                       [&](const std::string& name) { return same_file_name(name, disk.member.name); });
  });
  if (named) ovf_disks_ = other.ovf_disks_;
  ignore_ovf_ = !named;
  enters_layers_ = enters_layers_ && other.disks_.empty();
  ovf_seen_ = other.ovf_seen_;
}

std::optional<ArchiveWalk::Disk> ArchiveWalk::next_disk() {
  leave_member();
  while (std::optional<TarMember> member = members_.next()) {
    names_.push_back(member->name);
    current_ = member->name;
    if (!member->regular || member->size == 0) continue;
    container_image_ = container_image_ || marks_container_image(member->name);
    const MemberKind named = kind_by_name(*member);
    if (named == MemberKind::kOther) continue;
    digesting_ = std::make_unique<DigestingSource>(members_, wanted_digests(*member));
    member_ = std::make_unique<PrefixSource>(*digesting_);
    if (named == MemberKind::kOvf) read_ovf();
    if (named == MemberKind::kManifest) read_manifest();
    if (named == MemberKind::kDisk) {
      Disk disk{*member, member->name, false, {}};
      const MemberKind kind = kind_by_content(*member, member_->prefix(kProbeSize), limits_);
      if (kind == MemberKind::kArchive && !enter_layer(*member, disk)) archives_.push_back(member->name);
      if (kind == MemberKind::kDisk && !is_wanted(*member)) others_.push_back(member->name);
      if (disk.in_layer || (kind == MemberKind::kDisk && is_wanted(*member))) {
        if (!disk.in_layer) content_ = member_.get();
        disks_.push_back(disk);
        return disk;
      }
    }
    leave_member();
  }
  return std::nullopt;
}

/// Reads the rest of the member in hand where its digests are wanted or a layer has to end well.
void ArchiveWalk::leave_member() {
  if (layer_members_) {
    while (layer_members_->next()) {
    }
    layer_->finish();
  }
  content_ = nullptr;
  layer_members_.reset();
  layer_blocks_.reset();
  layer_.reset();
  if (digesting_) {
    if (auto digests = digesting_->finish(); !digests.empty()) found_[current_] = std::move(digests);
  }
  member_.reset();
  digesting_.reset();
}

std::vector<std::string> ArchiveWalk::wanted_digests(const TarMember& member) const {
  if (!reads_all_) return {};
  std::vector<std::string> wanted;
  if (!blob_digest(member.name).empty()) wanted.emplace_back("sha256");
  for (const ManifestLine& line : manifest_) {
    const bool listed_twice = std::find(wanted.begin(), wanted.end(), line.algorithm) != wanted.end();
    if (same_file_name(line.file, member.name) && !listed_twice) wanted.push_back(line.algorithm);
  }
  // The manifest may come last, and does in those of VirtualBox; where nothing could be skipped it is not known yet.
  const bool descriptor = kind_by_name(member) == MemberKind::kOvf;
  if (!manifest_seen_ && (descriptor || ovf_seen_)) wanted = {"sha1", "sha256", "sha512"};
  return wanted;
}

bool ArchiveWalk::is_wanted(const TarMember& member) const {
  return ovf_disks_.empty() || std::any_of(ovf_disks_.begin(), ovf_disks_.end(),
                                           [&](const std::string& name) { return same_file_name(name, member.name); });
}

std::vector<uint8_t> ArchiveWalk::read_text() {
  std::vector<uint8_t> text(kMaxOvfText + 1);
  text.resize(member_->read(text));
  return text;
}

void ArchiveWalk::read_ovf() {
  ovf_seen_ = true;
  std::optional<std::vector<std::string>> disks = ovf_disks(read_text());
  if (disks && ovf_disks_.empty() && !ignore_ovf_) ovf_disks_ = std::move(*disks);
}

void ArchiveWalk::read_manifest() {
  manifest_ = parse_ova_manifest(read_text());
  manifest_seen_ = true;
}

bool ArchiveWalk::enter_layer(const TarMember& member, Disk& disk) {
  const bool has_plain_disk =
      std::any_of(disks_.begin(), disks_.end(), [](const Disk& found) { return !found.in_layer; });
  if (!enters_layers_ || has_plain_disk) return false;
  Limits inside = limits_;
  inside.max_compression_depth = 1;
  layer_ = std::make_unique<UnpackChain>(*member_, inside, 1);
  layer_blocks_ = std::make_unique<StreamBlocks>(layer_->output());
  layer_members_ = std::make_unique<TarMembers>(*layer_blocks_, std::numeric_limits<uint64_t>::max());
  const LayerListing listing = find_layer_disk(*layer_members_, {});
  if (!listing.hides.empty()) hiding_.push_back(member.name);
  if (listing.disk.empty()) return false;
  for (Compression compression : layer_->compressions()) disk.wrappings.emplace_back(compression_name(compression));
  disk.wrappings.emplace_back("tar");
  disk.in_layer = true;
  disk.name = member.name + ": " + listing.disk;
  content_ = layer_members_.get();
  return true;
}

void ArchiveWalk::check_not_several() const {
  std::vector<std::string> names;
  for (const Disk& disk : disks_) names.push_back(disk.name);
  if (names.size() > 1) {
    throw Error(code::kSeveralDisks, "the archive holds " + std::to_string(names.size()) + " disks: " + listed(names));
  }
}

void ArchiveWalk::check_some() const {
  if (!disks_.empty()) return;
  if (names_.empty()) throw Error(code::kNoDisk, "the archive is empty");
  if (!others_.empty()) {
    if (!reads_all_) return;
    throw Error(code::kNoDisk, "the OVF descriptor names the disk " + listed(ovf_disks_) +
                                   ", which the archive does not hold, only " + listed(names_));
  }
  if (container_image_) {
    // Layers that a glance at the headers cannot look into.
    if (!reads_all_ && !archives_.empty()) return;
    throw Error(code::kNoDisk, "the container image in the archive has no file under disk/ in any layer");
  }
  if (!archives_.empty()) {
    throw Error(code::kUnsupportedFormat,
                "the archive holds another archive, " + listed(archives_) + ", and no disk: unpack it first");
  }
  throw Error(code::kNoDisk, "the archive holds no disk, only " + listed(names_));
}

void ArchiveWalk::check() const {
  check_some();
  check_not_several();
  if (!disks_.empty() && disks_.front().in_layer) {
    if (!container_image_) {
      throw Error(code::kUnsupportedFormat, "the archive holds another archive, " + disks_.front().member.name +
                                                ", and is no container image: unpack it first");
    }
    if (!hiding_.empty()) {
      throw Error(code::kSeveralDisks, "more than one layer of the container image changes disk/: " + listed(hiding_) +
                                           " as well as " + disks_.front().member.name +
                                           "; push it to a registry and import it from there");
    }
  }
  check_digests();
}

void ArchiveWalk::check_digests() const {
  auto compare = [](const std::string& file, const std::string& algorithm, std::string_view expected,
                    const std::map<std::string, std::string>& found) {
    auto digest = found.find(algorithm);
    if (digest == found.end() || digest->second == expected) return;
    throw Error(code::kChecksum, file + " in the archive: " + algorithm + " sum mismatch: " + std::string(expected) +
                                     " != " + digest->second);
  };
  for (const auto& [file, found] : found_) {
    if (std::string_view digest = blob_digest(file); !digest.empty()) compare(file, "sha256", digest, found);
    for (const ManifestLine& line : manifest_) {
      if (same_file_name(line.file, file)) compare(file, line.algorithm, line.digest, found);
    }
  }
}

}  // namespace dvcr
