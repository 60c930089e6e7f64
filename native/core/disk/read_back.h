// What a disk's medium really holds, after everything was stored durably.
#pragma once

#include <atomic>
#include <string>

#include "disk_file.h"

namespace dvcr {

/// sha256 (hex) of the bytes [from, size) of `file`, read around the page cache; holes are not read. `from` is a
/// multiple of kDiskAlign. Throws kDiskIo, kCancelled, and kDiskReadBack where the file is shorter.
std::string digest_back(DiskFile& file, uint64_t from, uint64_t size, const std::atomic<bool>& cancelled);

/// As digest_back(), compared with `sha256`. Throws kDiskReadBack too where it differs.
void check_back(DiskFile& file, uint64_t from, uint64_t size, const std::string& sha256,
                const std::atomic<bool>& cancelled);

}  // namespace dvcr
