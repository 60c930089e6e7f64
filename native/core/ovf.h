// What travels with the disks of an OVA: the OVF descriptor that names them (DSP0243, 7.1 References and 9.1
// DiskSection), and the manifest with digests of the files (6.3).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bytes.h"

namespace dvcr {

/// The longest descriptor or manifest that is read (bytes); real ones are below 100 KiB.
inline constexpr size_t kMaxOvfText = 4u << 20;

/// The files that hold disks, by the DiskSection of an OVF descriptor: names as in its References, percent-decoded.
/// Empty where it names none; nothing where the text is no such descriptor or too large. A document type declaration
/// is not followed.
std::optional<std::vector<std::string>> ovf_disks(Bytes text);

struct ManifestLine {
  std::string algorithm;  ///< "sha1", "sha256" or "sha512"
  std::string file;
  std::string digest;  ///< lower-case hex
};

/// The lines `SHA256(FILE)= HEX` of a manifest; lines with another algorithm or of another form are left out.
std::vector<ManifestLine> parse_ova_manifest(Bytes text);

/// True when two names are one file of an archive, which may hold it in a directory: `./vm/disk.vmdk` is `disk.vmdk`.
bool same_file_name(std::string_view a, std::string_view b);

}  // namespace dvcr
