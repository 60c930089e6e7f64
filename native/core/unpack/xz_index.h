// The unpacked size of a whole .xz file from its indexes.
#pragma once

#include <optional>

#include "unpack.h"

namespace dvcr {

/// Unpacked bytes of all streams together, read from the end of the file (The .xz File Format 4). Nothing when the
/// indexes are damaged, do not account for each byte of the file, or would take too many reads or too much memory:
/// the decoder then says what is wrong. Throws what `file` throws.
std::optional<uint64_t> xz_indexed_size(RangeReader& file, const Limits& limits);

}  // namespace dvcr
