// The first bytes of the compressed formats.
#pragma once

#include "unpack.h"

namespace dvcr {

/// Bytes that tell the formats apart: xz's magic is the longest. No complete stream is shorter.
inline constexpr size_t kMagicSize = 6;

/// True when `head` begins like a stream of `compression`, as far as it reaches when it is shorter than the magic.
bool could_begin(Compression compression, Bytes head);

}  // namespace dvcr
