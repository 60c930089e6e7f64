#include "vmdk_text.h"

#include <algorithm>
#include <array>

namespace dvcr {
namespace {

/// One character of UTF-8; a length of 0 stands for bytes that are none.
struct Character {
  uint32_t code = 0;
  size_t length = 0;
};

Character first_character(std::string_view text) {
  // By length: the bits of the first byte that say so, and the least code that needs it (RFC 3629, section 3).
  struct Form {
    uint8_t mask;
    uint8_t mark;
    uint32_t least;
  };
  static constexpr std::array<Form, 4> kForms{
      {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}}};
  const auto lead = static_cast<uint8_t>(text[0]);
  for (size_t length = 1; length <= std::min(kForms.size(), text.size()); ++length) {
    const Form& form = kForms[length - 1];
    if ((lead & form.mask) != form.mark) continue;
    uint32_t code = lead & ~form.mask & 0xffu;
    for (size_t i = 1; i < length; ++i) {
      const auto next = static_cast<uint8_t>(text[i]);
      if ((next & 0xc0) != 0x80) return {};
      code = code << 6 | (next & 0x3f);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < form.least || code > 0x10ffff || surrogate) return {};
    return {code, length};
  }
  return {};
}

bool is_plain(uint32_t code) {
  if (code < 0x20) return code == '\t' || code == '\r' || code == '\n';
  const bool control = code >= 0x7f && code < 0xa0;
  const bool line_end = code == 0x2028 || code == 0x2029;
  return !control && !line_end;
}

}  // namespace

std::string_view vmdk_text(Bytes bytes) {
  if (bytes.size() > kMaxVmdkDescriptor) {
    throw Error(code::kCorruptImage, "the VMDK descriptor has " + std::to_string(bytes.size()) +
                                         " bytes, more than the limit of " + std::to_string(kMaxVmdkDescriptor));
  }
  std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::string_view text = all.substr(0, std::min(all.find('\0'), all.size()));
  // qemu-img writes a CID of fewer digits over a longer one and leaves the last letters of the old text behind the end
  // of the new one. A CID has 8 digits, so nothing that means something fits there.
  size_t leftover = std::min(text.size() + kMaxVmdkLeftover, bytes.size());
  if (!is_zero(bytes.subspan(leftover))) {
    throw Error(code::kCorruptImage,
                "the VMDK descriptor has a zero byte within its text, at byte " + std::to_string(text.size()));
  }
  auto bad = std::find_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x80 && !is_plain(c); });
  if (bad != text.end()) {
    throw Error(code::kCorruptImage,
                "the VMDK descriptor has a control character at byte " + std::to_string(bad - text.begin()));
  }
  return text;
}

size_t plain_utf8_length(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Character next = first_character(text.substr(at));
    if (next.length == 0 || !is_plain(next.code)) break;
    at += next.length;
  }
  return at;
}

bool extends_ascii(std::string_view encoding) {
  static constexpr std::array<std::string_view, 10> kNames = {"GBK",      "GB2312", "GB18030", "Big5",   "Shift_JIS",
                                                              "MS_Kanji", "EUC-JP", "EUC-KR",  "KOI8-R", "macintosh"};
  if (std::any_of(kNames.begin(), kNames.end(), [&](std::string_view name) { return same_word(encoding, name); })) {
    return true;
  }
  // Code pages of Windows, of one byte a letter or two, and the parts of ISO 8859.
  for (std::string_view family : {"windows-", "ISO-8859-"}) {
    const std::string_view number = encoding.substr(std::min(family.size(), encoding.size()));
    const bool digits = std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (same_word(encoding.substr(0, family.size()), family) && !number.empty() && digits) return true;
  }
  return false;
}

bool same_word(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace dvcr
