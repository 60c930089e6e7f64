// What the files of a container image's layer say of its disk.
#pragma once

#include <string>
#include <vector>

#include "tar_members.h"

namespace dvcr {

/// LayerListing::seen holds no more names.
inline constexpr size_t kMaxSeenFiles = 10;

/// What one layer has to say about the directory disk/.
struct LayerListing {
  std::string disk;  ///< the file that would be read; empty when there is none
  /// Paths that this layer hides in those below it (OCI image-spec, layer: whiteouts). With a slash at the end only
  /// what is in that directory, else the path and all below it.
  std::vector<std::string> hides;
  std::vector<std::string> seen;  ///< the first few files, for messages
};

/// Goes to the first byte of the layer's disk: the first regular file under disk/ that `hidden`, what layers above
/// hide, leaves. Reads to the end where there is none. Throws what TarMembers throws, and kMetadataLimit for too many
/// entries under disk/.
LayerListing find_layer_disk(TarMembers& members, const std::vector<std::string>& hidden);

}  // namespace dvcr
