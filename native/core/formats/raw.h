// Disks without a header: raw, and ISO 9660 / UDF, which is stored as it is.
#pragma once

#include <optional>
#include <string>

#include "disk_image.h"

namespace dvcr {

/// True for ISO 9660 and UDF, on hybrid discs with a partition table too.
bool probe_iso(Bytes head);
/// Both give the stream as it is, strictly forward. Throw nothing; convert() throws kTooLarge.
std::unique_ptr<DiskImage> open_iso(ImageReader& reader);
std::unique_ptr<DiskImage> open_raw(ImageReader& reader);
/// A raw disk that nobody declared as one: convert() throws kUndeclaredVhd when its last 512 bytes make it a fixed VHD,
/// kTrailingData when they do so but for less than 512 bytes behind them, and refused_trailer()'s code for another
/// format that ends with a mark. By then its content was emitted, so the caller must not commit before convert()
/// returns. Unless it is `recognised`, a warning says that nothing was.
std::unique_ptr<DiskImage> open_undeclared_raw(ImageReader& reader, bool recognised);

/// A size that the content of a headerless disk names; it may be wrong.
struct SizeGuess {
  uint64_t size;     ///< bytes
  std::string from;  ///< "gpt" or "iso"
};

/// The size of a raw disk as far as its first bytes (kProbeSize of them) tell: the place of GPT's backup header
/// (UEFI 2.10, 5.3.2), or the volume size of ISO 9660 (ECMA-119, 8.4.8). Nothing when neither is plausible.
std::optional<SizeGuess> guess_size(Bytes head);
/// Where the last partition ends, in bytes, by a partition table in the disk's first sector (MBR); 0 where there is
/// none, or only the one that protects a GPT.
uint64_t partitions_end(Bytes head);

}  // namespace dvcr
