#pragma once

#include "disk_file.h"

namespace dvcr {

/// What may be tried on a device. All by default; a test switches some off to stand for a device that lacks them.
struct DeviceAbilities {
  bool punch = true;
  bool discard = true;
};

/// A block device that nobody else writes to: it ends with exactly the disk and zeros to its end. A regular file of the
/// device's size may stand for one.
std::unique_ptr<DiskOutput> make_device_output(int fd, DeviceAbilities abilities = {});

}  // namespace dvcr
