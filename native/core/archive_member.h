// What a member of an archive is, by its name and its first bytes.
#pragma once

#include <string>
#include <string_view>

#include "import_limits.h"
#include "tar_reader.h"

namespace dvcr {

enum class MemberKind : uint8_t {
  kOther,
  kOvf,       ///< an OVF descriptor
  kManifest,  ///< the digests of an OVA's files
  kDisk,      ///< a disk image, plain or compressed
  kArchive,   ///< a tar, plain or compressed
};

/// By its name alone: kOvf, kManifest, or kOther for what travels with disks and may happen to look like one.
/// kDisk where its content decides. Throws kMultiFile for a piece of a disk that is cut into chunks.
MemberKind kind_by_name(const TarMember& member);
/// kDisk, kArchive or kOther for a member of which `head` (kProbeSize bytes of it, or all) are the first bytes.
MemberKind kind_by_content(const TarMember& member, Bytes head, const Limits& limits);
/// True for a file that only a saved container image has: `oci-layout`, or docker's `manifest.json`.
bool marks_container_image(std::string_view name);
/// The sha256 (hex) that the name of an OCI layout's blob gives; empty for other names.
std::string_view blob_digest(std::string_view name);

}  // namespace dvcr
