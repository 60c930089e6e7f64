// Inputs for the targets that read archives: tars of every dialect, OVA, saved container images, and their texts.
#pragma once

#include <vector>

#include "harness.h"

namespace dvcr::fuzz {

/// Needs tar and qemu-img.
std::vector<Buffer> archive_seeds();
/// OVF descriptors and manifests.
std::vector<Buffer> ovf_seeds();

}  // namespace dvcr::fuzz
