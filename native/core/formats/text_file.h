// Text, which no disk begins with: error and login pages, pointers to files that are elsewhere, keys.
#pragma once

#include "formats/refused.h"

namespace dvcr {

/// The kind of text that `head`, the first bytes of a file, is; null where it is no text. Text is UTF-8 or ASCII
/// without control characters other than blanks, line ends and escapes.
const RefusedFormat* text_file(Bytes head);

}  // namespace dvcr
