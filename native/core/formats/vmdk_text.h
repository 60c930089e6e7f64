// The bytes of a VMDK descriptor as text. VMware writes the names of a user's files in UTF-8, or on Windows in the
// machine's own encoding, and says which (`encoding=`). The names are never opened, so no text is converted: what
// matters is that no byte can be taken for a line end or a quote by one reader and for a letter by another.
#pragma once

#include <string_view>

#include "../bytes.h"

namespace dvcr {

/// The longest descriptor that is read (bytes); real ones are below 2 KiB.
inline constexpr size_t kMaxVmdkDescriptor = 1u << 20;
/// What may stand behind the text's end besides zeros: its zero byte and letters of an older text (bytes).
inline constexpr size_t kMaxVmdkLeftover = 8;

/// The text before the zero padding. Throws kCorruptImage for a control character other than tab and line end, for
/// anything but zeros after kMaxVmdkLeftover bytes more, and for more than kMaxVmdkDescriptor bytes.
std::string_view vmdk_text(Bytes bytes);

/// How many bytes at the start of `text` are UTF-8 (RFC 3629) without control characters and line separators of
/// Unicode's own: all, where it is such text.
size_t plain_utf8_length(std::string_view text);

/// True for the name of an encoding that extends ASCII: bytes below 0x80 are ASCII letters, or the second half of a
/// character that is no quote, blank or line end.
bool extends_ascii(std::string_view encoding);

/// Compares without regard to upper and lower case of ASCII letters.
bool same_word(std::string_view a, std::string_view b);

}  // namespace dvcr
