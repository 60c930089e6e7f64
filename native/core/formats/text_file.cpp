#include "formats/text_file.h"

#include <algorithm>
#include <array>

#include "formats/vmdk_text.h"

namespace dvcr {
namespace {

/// So many bytes decide (of a file that is longer).
constexpr size_t kLooked = 4096;
constexpr size_t kLongestCharacter = 4;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

constexpr std::string_view kNotThis =
    "it holds no disk; check the path or URL, or declare its format as raw to store it";

struct Kind {
  std::string_view begins;  // in lower case
  RefusedFormat format;
};

consteval Kind kind(std::string_view begins, std::string_view name, std::string_view advice = kNotThis) {
  return {begins, {name, code::kNotADisk, advice, false}};
}

constexpr std::string_view kPage =
    "servers answer so for a login or an error: open the URL in a browser, and take the link of the file itself";

constexpr std::array kKinds{
    kind("version https://git-lfs.github.com/spec/", "a Git LFS pointer",
         "the file itself is stored elsewhere: take the URL of the download, or run git lfs pull"),
    kind("<!doctype html", "an HTML page", kPage),
    kind("<html", "an HTML page", kPage),
    kind("<?xml", "an XML document"),
    kind("<", "an HTML or XML document"),
    kind("{", "a JSON document"),
    kind("[", "a JSON document or a text"),
    kind("-----begin ", "a key, certificate or signature (PEM)"),
    kind("#!", "a script"),
};

constexpr RefusedFormat kText{"a text", code::kNotADisk, kNotThis, false};
constexpr RefusedFormat kOvf{"an OVF descriptor", code::kNotADisk,
                             "it names the disk and does not hold it: send the OVA, or the disk file that it names",
                             false};

bool is_control(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte < 0x20 && c != '\t' && c != '\r' && c != '\n' && c != '\f' && c != '\x1b';
}

/// `cut`: the text goes on, so that its last character may be incomplete.
bool is_text(std::string_view text, bool cut) {
  if (std::any_of(text.begin(), text.end(), is_control)) return false;
  while (!text.empty()) {
    const size_t plain = plain_utf8_length(text);
    text.remove_prefix(plain);
    if (text.empty()) return true;
    // Escapes and form feeds are text here, though not in a descriptor.
    const bool incomplete = cut && text.size() < kLongestCharacter && (text[0] & 0x80) != 0;
    if (text[0] != '\f' && text[0] != '\x1b') return incomplete;
    text.remove_prefix(1);
  }
  return true;
}

}  // namespace

const RefusedFormat* text_file(Bytes head) {
  const Bytes looked = head.first(std::min(head.size(), kLooked));
  std::string_view text(reinterpret_cast<const char*>(looked.data()), looked.size());
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.empty() || !is_text(text, head.size() > kLooked)) return nullptr;
  const size_t first = text.find_first_not_of(" \t\r\n");
  text.remove_prefix(std::min(first, text.size()));
  for (const Kind& kind : kKinds) {
    if (text.size() < kind.begins.size() || !same_word(text.substr(0, kind.begins.size()), kind.begins)) continue;
    const bool envelope =
        text.find("Envelope") != std::string_view::npos && text.find("/ovf/envelope/") != std::string_view::npos;
    return envelope ? &kOvf : &kind.format;
  }
  return &kText;
}

}  // namespace dvcr
