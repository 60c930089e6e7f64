// VHDX, dynamic and fixed, as Hyper-V, Disk2vhd and qemu write it.
#pragma once

#include "disk_image.h"

namespace dvcr {

/// Parses a VHDX up to its metadata; the block table is read by convert(). A log in use is replayed in memory first:
/// what it changes is laid over everything read afterwards, the file is not touched.
/// Throws kBackingFile (differencing), kDirty (a log that cannot be replayed), kCorruptImage, kOverlap, kEmpty,
/// kTooLarge, kMetadataLimit, kTruncated, kUnsupportedFeature.
std::unique_ptr<DiskImage> open_vhdx(ImageReader& reader);

/// True when `head` begins like a VHDX.
bool probe_vhdx(Bytes head);

}  // namespace dvcr
