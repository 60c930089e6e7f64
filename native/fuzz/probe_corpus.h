// Inputs for the target that says what a file is: the beginnings of what it knows, disks and what is none.
#pragma once

#include <vector>

#include "harness.h"

namespace dvcr::fuzz {

std::vector<Buffer> first_bytes_seeds();

}  // namespace dvcr::fuzz
