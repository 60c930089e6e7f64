// VHD (qemu's "vpc"): dynamic images, and fixed ones, which are a raw disk with a footer behind it.
#pragma once

#include "disk_image.h"
#include "formats/vhd_footer.h"

namespace dvcr {

/// Parses a dynamic VHD, which begins with a copy of its footer. The table and the closing footer are read by
/// convert().
///
/// Sector bitmaps: the specification lets a reader take sectors whose bit is not set as never written; qemu reads
/// their bytes all the same. Both agree on every honest image, where such sectors hold zeros, so zeros are given, and
/// an image in which they do not agree is refused rather than read one way (kCorruptImage).
/// Throws kBackingFile (differencing), kCorruptImage, kEmpty, kTooLarge, kMetadataLimit, kTruncated,
/// kUnsupportedFeature.
std::unique_ptr<DiskImage> open_dynamic_vhd(ImageReader& reader);

/// A fixed VHD: all bytes but the last 512 are the disk, and those must be a footer that says so. The footer is looked
/// at before the content where the source has random access, else when it has passed; it never becomes disk content.
/// The whole content is the disk also where the footer's geometry is smaller: a stream cannot know that in time.
/// Throws kCorruptImage (no valid footer), kSizeMismatch (footer and length disagree), kBackingFile, kEmpty, kTooLarge.
std::unique_ptr<DiskImage> open_fixed_vhd(ImageReader& reader);

/// The one or the other, by whether the stream begins with a copy of a footer.
std::unique_ptr<DiskImage> open_vhd(ImageReader& reader);

/// True when `head` begins like a dynamic VHD. A fixed one has nothing at its start.
bool probe_vhd(Bytes head);

/// True when the source has random access and ends with the footer of a fixed VHD.
bool ends_with_vhd_footer(ByteSource& source);

}  // namespace dvcr
