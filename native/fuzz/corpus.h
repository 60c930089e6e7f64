// The inputs that fuzzing starts from, made by the tools and makers that the tests use. No file is kept in the tree.
#pragma once

#include <string_view>

#include "harness.h"

namespace dvcr::fuzz {

/// Honest inputs, and the hostile ones that random changes hardly find, for the fuzz target `target` (without the
/// bytes of the configuration). Needs qemu-img, qemu-io and tar. Empty for an unknown target.
std::vector<Buffer> seeds_for(std::string_view target);

/// The format that the mutators know `target` by.
std::string_view format_of(std::string_view target);

}  // namespace dvcr::fuzz
