// Files that are recognised in order to say what they are and what to do, instead of storing them as raw disks.
#pragma once

#include <string>
#include <string_view>

#include "byte_source.h"

namespace dvcr {

struct RefusedFormat {
  std::string_view name;
  std::string_view code;    ///< kUnsupportedFormat, kEncrypted or kNotADisk
  std::string_view advice;  ///< completes "this is NAME: …"
  bool nested;              ///< also refused as the content of a disk
};

/// The refused format that `head`, the first bytes of a file, begins with, or null.
const RefusedFormat* refused_format(Bytes head);
/// The refused format that shows only in these last 512 bytes of a file, or null.
const RefusedFormat* refused_trailer(Bytes last512);
/// The same by asking the origin, where that can be done; else null.
const RefusedFormat* refused_by_trailer(ByteSource& source);
/// What and why, for a message.
std::string refused_text(const RefusedFormat& refused);
/// Throws the format's code with its name and advice.
[[noreturn]] void throw_refused(const RefusedFormat& refused);

}  // namespace dvcr
