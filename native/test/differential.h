// Images made by the hundred with qemu-img and qemu-io, and what qemu-img makes of them.
#pragma once

#include <string>
#include <vector>

#include "support.h"

namespace dvcr::test {

/// One image: shell commands that make `$1` out of the raw disk `$2`.
struct Recipe {
  std::string name;
  std::string format;     ///< qemu-img's
  std::string commands;   ///< of /bin/sh
  bool declared = false;  ///< the format must be declared, as nothing but its end shows it
};

/// What the comparisons came to, over all tests.
struct Tally {
  unsigned images = 0;
  unsigned comparisons = 0;
};

/// Makes the images of `recipes` from `disk`, several at a time, converts each with several chunkings and compares with
/// `qemu-img convert`; adds to `tally`. Every difference is a failure of the current test.
void compare_with_qemu(const std::vector<Recipe>& recipes, const std::vector<uint8_t>& disk, Tally& tally);

}  // namespace dvcr::test
