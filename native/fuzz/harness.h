// What the fuzz targets share. The first bytes of an input say how the rest is read: chunk sizes, declared format, what
// the source knows, and small limits.
#pragma once

#include <string_view>

#include "support.h"

namespace dvcr::fuzz {

using Buffer = std::vector<uint8_t>;

/// Bytes in front of each input.
inline constexpr size_t kConfigSize = 2;
/// Largest disk that an input may describe (bytes).
inline constexpr uint64_t kLargestDisk = 4 * kMiB;

/// Ends the process with a message when a rule does not hold, so that libFuzzer keeps the input. `detail` is added.
void require(bool holds, const char* rule, const std::string& detail = {});

/// How one input is read; the two chunk sizes must make no difference.
struct Setup {
  test::ConvertOptions options;
  size_t other_chunk = 0;
  Bytes image;
};
/// `configuration`: the first kConfigSize bytes of an input.
Setup setup_of(std::string_view format, Bytes configuration, Bytes image);

/// Converts the image in `input` several ways and checks that they agree: with two chunkings to the byte, with and
/// without knowing the length or having random access in what is accepted. The disk is as long as its header says, no
/// byte of the file is used twice, and what is held stays within the limits.
void check_image(std::string_view format, Bytes input);

/// VHDX spreads a few KiB over several MiB: its inputs hold only the pages that are not zero.
/// What is returned is the end of `buffer`, so that nothing can be read behind it.
Bytes expand_pages(Bytes pages, Buffer& buffer);
Buffer collapse_pages(Bytes image);

}  // namespace dvcr::fuzz
