#include "archive_member.h"

#include <algorithm>
#include <array>

#include "disk_image.h"
#include "formats/raw.h"
#include "unpack/unpack.h"

namespace dvcr {
namespace {

constexpr size_t kTarBlock = 512;

constexpr std::array<std::string_view, 8> kDiskSuffixes = {".vmdk", ".img", ".raw",  ".qcow2",
                                                           ".vdi",  ".vhd", ".vhdx", ".iso"};
constexpr std::array<std::string_view, 4> kPackedSuffixes = {".gz", ".xz", ".zst", ".bz2"};
// What travels with disks; some of it may happen to look like one.
constexpr std::array<std::string_view, 12> kOtherSuffixes = {".cert", ".txt", ".nvram", ".xml", ".json",   ".yaml",
                                                             ".md",   ".log", ".sig",   ".asc", ".sha256", ".pem"};

template <size_t N>
std::string_view suffix_of(std::string_view name, const std::array<std::string_view, N>& suffixes) {
  auto found =
      std::find_if(suffixes.begin(), suffixes.end(), [&](std::string_view suffix) { return name.ends_with(suffix); });
  return found == suffixes.end() ? std::string_view() : *found;
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string_view base_name(std::string_view name) {
  return name.substr(name.rfind('/') + 1);
}

bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_chunk(std::string_view name) {
  // `disk.vmdk.000000000`: OVF lets a disk be cut into chunks with nine digits at the end (DSP0243, 6.1 ChunkSize).
  constexpr size_t kDigits = 9;
  const size_t stem = name.size() - std::min(name.size(), kDigits + 1);
  const bool numbered = stem > 0 && name[stem] == '.' && all_digits(name.substr(stem + 1));
  if (numbered && !suffix_of(name.substr(0, stem), kDiskSuffixes).empty()) return true;
  // `Ref:12/00000000`: an export of XenServer (XVA) has a directory of pieces for each disk.
  constexpr std::string_view kReference = "ref:";
  constexpr size_t kPieceDigits = 8;
  const std::string_view piece = base_name(name);
  return name.starts_with(kReference) && piece.size() == kPieceDigits && all_digits(piece);
}

/// True when `head`, unpacked where it is compressed, begins a tar.
bool holds_tar(Bytes head, const Limits& limits) {
  MemorySource memory(head);
  try {
    UnpackChain chain(memory, limits, 1);
    return is_tar(chain.output().prefix(kTarBlock));
  } catch (const Error&) {
    // Damage is told of when it is read.
    return false;
  }
}

}  // namespace

MemberKind kind_by_name(const TarMember& member) {
  const std::string name = lower(member.name);
  if (is_chunk(name)) {
    throw Error(code::kMultiFile, "the disk is stored in pieces: " + member.name + "; join them first");
  }
  // macOS's tar puts one with a file's attributes next to the file (AppleDouble).
  if (base_name(name).starts_with("._")) return MemberKind::kOther;
  if (name.ends_with(".ovf")) return MemberKind::kOvf;
  if (name.ends_with(".mf")) return MemberKind::kManifest;
  std::string_view stem = name;
  stem.remove_suffix(suffix_of(stem, kPackedSuffixes).size());
  return suffix_of(stem, kOtherSuffixes).empty() ? MemberKind::kDisk : MemberKind::kOther;
}

MemberKind kind_by_content(const TarMember& member, Bytes head, const Limits& limits) {
  const bool packed = detect_compression(head) != Compression::kNone;
  if ((packed || is_tar(head)) && holds_tar(head, limits)) return MemberKind::kArchive;
  std::string name = lower(member.name);
  std::string_view stem = name;
  stem.remove_suffix(suffix_of(stem, kPackedSuffixes).size());
  const bool disk = packed || !suffix_of(stem, kDiskSuffixes).empty() || !recognised_format(head).empty() ||
                    guess_size(head).has_value();
  return disk ? MemberKind::kDisk : MemberKind::kOther;
}

bool marks_container_image(std::string_view name) {
  if (name.starts_with("./")) name.remove_prefix(2);
  return name == "oci-layout" || name == "manifest.json";
}

std::string_view blob_digest(std::string_view name) {
  if (name.starts_with("./")) name.remove_prefix(2);
  constexpr std::string_view kBlobs = "blobs/sha256/";
  constexpr size_t kHexDigits = 64;
  if (!name.starts_with(kBlobs) || name.size() != kBlobs.size() + kHexDigits) return {};
  return name.substr(kBlobs.size());
}

}  // namespace dvcr
