// Files that are no disks: text, and formats that have a magic number of their own. Told from disks by their first
// bytes, so that a login page or a package is not stored as an image.
#pragma once

#include "formats/refused.h"

namespace dvcr {

/// True when `head`, the first bytes of a file (kProbeSize of them, or all), begins a disk or one of its partitions: a
/// partition table, a file system, a volume of LVM, RAID or swap, or a first sector of zeros.
bool begins_as_disk(Bytes head);

/// What `head` is where it is known not to be a disk, or null. Only for a file that does not begin as a disk does: a
/// boot sector may begin with any bytes.
const RefusedFormat* known_as_no_disk(Bytes head);

}  // namespace dvcr
