// One-shot decoding of compressed clusters and grains, and CRC-32. Thin over libdeflate and libzstd.
#pragma once

#include <string>
#include <vector>

#include "extent_sink.h"

namespace dvcr {

struct DecodedUnit {
  size_t consumed;  ///< bytes of `packed` that the stream used
  size_t produced;  ///< bytes written to `out`
};

/// Decodes one unit into `out` (unit_size bytes), in place: there is one small context per thread and no window, and
/// a zstd frame may claim a window of any size. Bytes of `packed` after the stream's end are ignored.
/// Throws kCorruptCluster when the stream is damaged, has no end, would give more than out.size() bytes, or (zlib)
/// fails its Adler-32; the caller checks `produced` against its minimum.
DecodedUnit decode_unit(UnitCodec codec, Bytes packed, MutableBytes out);

/// Decodes a unit into `out` (unit_size bytes), zero-filling what it does not give.
/// Throws kCorruptCluster with the host offset when it is damaged or gives less than min_size.
DecodedUnit decode_checked(const CompressedUnit& unit, Bytes packed, MutableBytes out);

/// CRC-32 as in gzip (RFC 1952), continuing `seed`.
uint32_t crc32(uint32_t seed, Bytes bytes);

/// Name and version of every codec library that answers at run time, e.g. {"liblzma", "5.4.1"}.
struct LibraryVersion {
  std::string name;
  std::string version;
};
std::vector<LibraryVersion> library_versions();

}  // namespace dvcr
