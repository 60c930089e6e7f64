// VirtualBox disk images, VDI version 1.1: dynamic and static, as VirtualBox and qemu write them.
#pragma once

#include "disk_image.h"

namespace dvcr {

/// Parses the header of a VDI. The block map is read by convert(). Layout: VirtualBox's VDICore.h (header version 1.1).
/// The disk's size is rounded up to whole sectors, as qemu-img does.
/// Throws kBackingFile (undo and differencing images), kUnsupportedFeature (other versions), kCorruptImage, kEmpty,
/// kTooLarge, kMetadataLimit, kTruncated.
std::unique_ptr<DiskImage> open_vdi(ImageReader& reader);

/// True when `head` begins like a VDI.
bool probe_vdi(Bytes head);

}  // namespace dvcr
