// Mutations that know where a format keeps its pointers: tables are aliased, swapped and shifted by a cluster where
// random bytes would only break the header, and checksums are made right again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>

#include "harness.h"

namespace dvcr::fuzz {

using Random = std::minstd_rand;

/// Changes one field of the image, or one entry of its tables. Formats without structure of their own: bytes.
void mutate_structure(std::string_view format, Buffer& image, Random& random);
/// Changes bytes anywhere: single ones, numbers at their limits, pieces doubled or cut.
void mutate_bytes(Buffer& image, Random& random);
/// Makes the checksums of VHD and VHDX right again.
void repair(std::string_view format, Buffer& image);

/// The body of LLVMFuzzerCustomMutator for images of `format`; `plain` is LLVMFuzzerMutate.
size_t mutate_input(std::string_view format, uint8_t* data, size_t size, size_t max_size, unsigned seed,
                    size_t (*plain)(uint8_t*, size_t, size_t));

}  // namespace dvcr::fuzz
