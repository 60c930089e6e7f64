#include "magic.h"

#include <algorithm>
#include <array>

namespace dvcr {
namespace {

/// A byte of a stream matches when (byte & mask) == value.
struct Magic {
  Compression compression;
  size_t size;
  std::array<uint8_t, kMagicSize> value;
  std::array<uint8_t, kMagicSize> mask;
};

constexpr std::array kMagics{
    // RFC 1952 2.3: method 8 is the only one, the three upper flag bits are reserved.
    Magic{Compression::kGzip, 4, {0x1f, 0x8b, 0x08, 0x00}, {0xff, 0xff, 0xff, 0xe0}},
    // The .xz File Format 2.1.1.1.
    Magic{Compression::kXz, 6, {0xfd, '7', 'z', 'X', 'Z', 0x00}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    // RFC 8878 3.1.1, and 3.1.2 for skippable frames, which pzstd puts first.
    Magic{Compression::kZstd, 4, {0x28, 0xb5, 0x2f, 0xfd}, {0xff, 0xff, 0xff, 0xff}},
    Magic{Compression::kZstd, 4, {0x50, 0x2a, 0x4d, 0x18}, {0xf0, 0xff, 0xff, 0xff}},
    // The level digit, then the magic of a block or of the end. Three letters alone would be too little to go by.
    Magic{Compression::kBzip2, 6, {'B', 'Z', 'h', '0', 0x31, 0x41}, {0xff, 0xff, 0xff, 0xf0, 0xff, 0xff}},
    Magic{Compression::kBzip2, 6, {'B', 'Z', 'h', '0', 0x17, 0x72}, {0xff, 0xff, 0xff, 0xf0, 0xff, 0xff}},
    // The stream identifier of snappy's framing format, section 4.1.
    Magic{Compression::kSnappy, 6, {0xff, 0x06, 0x00, 0x00, 's', 'N'}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
};

bool matches(const Magic& magic, Bytes head) {
  size_t size = std::min(magic.size, head.size());
  for (size_t i = 0; i < size; ++i) {
    if ((head[i] & magic.mask[i]) != magic.value[i]) return false;
  }
  return true;
}

}  // namespace

Compression detect_compression(Bytes head) {
  for (const Magic& magic : kMagics) {
    bool declared_only = magic.compression == Compression::kSnappy;
    if (!declared_only && head.size() >= magic.size && matches(magic, head)) return magic.compression;
  }
  return Compression::kNone;
}

bool could_begin(Compression compression, Bytes head) {
  return std::any_of(kMagics.begin(), kMagics.end(),
                     [&](const Magic& magic) { return magic.compression == compression && matches(magic, head); });
}

std::string_view compression_name(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return "gzip";
    case Compression::kXz:
      return "xz";
    case Compression::kZstd:
      return "zstd";
    case Compression::kBzip2:
      return "bzip2";
    case Compression::kSnappy:
      return "snappy";
    case Compression::kNone:
      break;
  }
  return "none";
}

}  // namespace dvcr
