// Bounds-checked loads from untrusted bytes, and overflow-checked arithmetic for header fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "error.h"

namespace dvcr {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

/// The part [offset, offset+length) of `bytes`; throws kCorruptImage when it is not inside.
inline Bytes slice(Bytes bytes, uint64_t offset, uint64_t length) {
  if (offset > bytes.size() || length > bytes.size() - offset) {
    throw Error(code::kCorruptImage, "a field at byte " + std::to_string(offset) + " lies outside of its table of " +
                                         std::to_string(bytes.size()) + " bytes");
  }
  return bytes.subspan(static_cast<size_t>(offset), static_cast<size_t>(length));
}

inline uint64_t load_be(Bytes bytes, uint64_t offset, unsigned width) {
  uint64_t value = 0;
  for (uint8_t byte : slice(bytes, offset, width)) value = value << 8 | byte;
  return value;
}

inline uint64_t load_le(Bytes bytes, uint64_t offset, unsigned width) {
  Bytes field = slice(bytes, offset, width);
  uint64_t value = 0;
  for (unsigned i = width; i-- > 0;) value = value << 8 | field[i];
  return value;
}

inline uint16_t be16(Bytes b, uint64_t o) {
  return static_cast<uint16_t>(load_be(b, o, 2));
}
inline uint32_t be32(Bytes b, uint64_t o) {
  return static_cast<uint32_t>(load_be(b, o, 4));
}
inline uint64_t be64(Bytes b, uint64_t o) {
  return load_be(b, o, 8);
}
inline uint16_t le16(Bytes b, uint64_t o) {
  return static_cast<uint16_t>(load_le(b, o, 2));
}
inline uint32_t le32(Bytes b, uint64_t o) {
  return static_cast<uint32_t>(load_le(b, o, 4));
}
inline uint64_t le64(Bytes b, uint64_t o) {
  return load_le(b, o, 8);
}

/// True when `bytes` holds exactly `text` at `offset`; false also when it is too short.
inline bool has_magic(Bytes bytes, uint64_t offset, std::string_view text) {
  if (offset > bytes.size() || text.size() > bytes.size() - offset) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (bytes[static_cast<size_t>(offset) + i] != static_cast<uint8_t>(text[i])) return false;
  }
  return true;
}

/// a * b and a + b for header fields; throw kCorruptImage naming `what` on overflow of 64 bits.
inline uint64_t checked_mul(uint64_t a, uint64_t b, const char* what) {
  uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) throw Error(code::kCorruptImage, std::string(what) + " overflows 64 bits");
  return out;
}
inline uint64_t checked_add(uint64_t a, uint64_t b, const char* what) {
  uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) throw Error(code::kCorruptImage, std::string(what) + " overflows 64 bits");
  return out;
}

inline constexpr uint64_t div_ceil(uint64_t a, uint64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

/// True when every byte is zero. The compare-with-itself form is what memcmp vectorises best.
inline bool is_zero(Bytes bytes) {
  if (bytes.empty()) return true;
  return bytes[0] == 0 && __builtin_memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace dvcr
