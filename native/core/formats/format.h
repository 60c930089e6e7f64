// What each disk format offers to the table in probe.cpp: one probe and one open function.
#pragma once

#include <memory>
#include <string_view>

#include "disk_image.h"

namespace dvcr {

/// One row of the table of formats that are read.
struct Format {
  std::string_view name;  ///< qemu-img's
  /// True when `head`, the first bytes of the file (up to kProbeSize), begins like this format.
  bool (*probe)(Bytes head);
  /// Parses the headers. Throws the format's own codes.
  std::unique_ptr<DiskImage> (*open)(ImageReader& reader);
  /// A disk whose content begins like this is refused as an image within an image.
  bool nested;
  /// Its signature may stand only at the end of the file, so a declared one is opened without a match.
  bool trailing;
};

}  // namespace dvcr
