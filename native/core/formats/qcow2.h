// qcow2, versions 2 and 3 (qemu's docs/interop/qcow2.txt), read in guest order from a stream.
#pragma once

#include "disk_image.h"

namespace dvcr {

bool probe_qcow2(Bytes head);

/// Parses the header; the tables are read by convert(), one L2 table at a time. Everything that the active disk uses
/// is claimed, so no part of the file can be used twice. Stricter than qemu: reserved bits must be zero, and what lies
/// behind the end of the file is kTruncated, not zeros. Internal snapshots are read past.
/// Throws as read_qcow2_header(); convert() throws kAlias, kOverlap, kCorruptImage, kTruncated, kMetadataLimit.
std::unique_ptr<DiskImage> open_qcow2(ImageReader& reader);

}  // namespace dvcr
