// Files that are recognised in order to say what they are and what to do, instead of storing them as raw disks.
#pragma once

#include <string_view>

#include "byte_source.h"

namespace dvcr {

struct RefusedFormat {
  std::string_view name;
  std::string_view code;    ///< kUnsupportedFormat or kEncrypted
  std::string_view advice;  ///< completes "this is NAME: …"
  bool nested;              ///< also refused as the content of a disk
};

/// The refused format that `head`, the first bytes of a file, begins with, or null.
const RefusedFormat* refused_format(Bytes head);
/// The refused format that shows only at the end of the file, where the origin can be asked for it, or null.
const RefusedFormat* refused_by_trailer(ByteSource& source);

}  // namespace dvcr
