// Where the fields and table entries of an image stand.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "bytes.h"

namespace dvcr::test {

/// One number in an image.
struct Slot {
  size_t offset;
  unsigned width;  ///< bytes
  bool big_endian;
};

struct Slots {
  std::vector<Slot> fields;   ///< of headers
  std::vector<Slot> entries;  ///< of tables, and marks in the stream
  uint64_t step = 1;          ///< by which an entry that points at its neighbour differs
};

/// The slots of an image of `format` as far as its own, perhaps damaged, headers lead to them. All lie inside.
Slots slots_of(std::string_view format, Bytes image);

}  // namespace dvcr::test
