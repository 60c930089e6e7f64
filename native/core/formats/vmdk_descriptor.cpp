#include "vmdk_descriptor.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace dvcr {
namespace {

constexpr size_t kMaxExtents = 4096;
constexpr std::string_view kBlank = " \t";

[[noreturn]] void corrupt(size_t line, const std::string& why) {
  throw Error(code::kCorruptImage, "line " + std::to_string(line) + " of the VMDK descriptor " + why);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Takes the next line off `rest`, without its LF or CR LF.
std::string_view next_line(std::string_view& rest) {
  size_t end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Takes the next blank-separated word off `rest`.
std::string_view next_word(std::string_view& rest) {
  rest = trim(rest);
  size_t end = std::min(rest.find_first_of(kBlank), rest.size());
  std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

template <typename T>
std::optional<T> number(std::string_view text, int base) {
  T value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

bool is_access(std::string_view word) {
  return word == "RW" || word == "RDONLY" || word == "NOACCESS";
}

// A tab or carriage return between the letters is no way of writing that two readers share.
std::string_view plain_text(std::string_view text, size_t at) {
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' '; }))
    corrupt(at, "has a control character");
  return text;
}

VmdkExtentLine parse_extent(std::string_view line, size_t at) {
  static constexpr std::array<std::string_view, 8> kTypes = {"FLAT",       "SPARSE",  "ZERO",    "VMFS",
                                                             "VMFSSPARSE", "VMFSRDM", "VMFSRAW", "SESPARSE"};
  VmdkExtentLine extent;
  extent.access = next_word(line);
  std::optional<uint64_t> sectors = number<uint64_t>(next_word(line), 10);
  if (!sectors) corrupt(at, "has no number of sectors");
  extent.sectors = *sectors;
  extent.type = next_word(line);
  if (std::find(kTypes.begin(), kTypes.end(), extent.type) == kTypes.end()) corrupt(at, "has an unknown extent type");
  line = trim(line);
  if (line.empty() && extent.type == "ZERO") return extent;
  size_t close = line.size() > 1 && line[0] == '"' ? line.find('"', 1) : std::string_view::npos;
  if (close == std::string_view::npos || close == 1) corrupt(at, "has no quoted extent name");
  extent.name = plain_text(line.substr(1, close - 1), at);
  // An offset, and for raw devices a partition's UUID and a device's name, may follow; nothing of them is used.
  std::string_view rest = trim(line.substr(close + 1));
  if (!rest.empty() && !number<uint64_t>(next_word(rest), 10)) corrupt(at, "has no number after the extent name");
  return extent;
}

struct KeyValue {
  std::string_view key;
  std::string_view value;
};

KeyValue parse_key_value(std::string_view line, size_t at) {
  size_t equals = line.find('=');
  if (equals == std::string_view::npos) corrupt(at, "is neither a comment, a setting nor an extent");
  std::string_view key = trim(line.substr(0, equals));
  bool plain = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' ||
           c == ':';
  });
  if (!plain) corrupt(at, "has a malformed key");
  std::string_view value = plain_text(trim(line.substr(equals + 1)), at);
  if (value.starts_with('"')) {
    if (value.size() < 2 || !value.ends_with('"')) corrupt(at, "has a value with an open quote");
    return {key, value.substr(1, value.size() - 2)};
  }
  if (value.find('"') != std::string_view::npos) corrupt(at, "has a value with a stray quote");
  return {key, value};
}

// Readers differ in whether they take the first or the last of two, and in upper and lower case.
class OnceOnly {
 public:
  void check(bool& seen, size_t at, const char* key) {
    if (seen) corrupt(at, std::string("gives ") + key + " a second time");
    seen = true;
  }
  bool create_type = false;
  bool cid = false;
  bool parent_cid = false;
  bool parent_hint = false;
  bool encoding = false;
};

void apply(VmdkDescriptor& descriptor, OnceOnly& once, const KeyValue& setting, size_t at) {
  if (same_word(setting.key, "createType")) {
    once.check(once.create_type, at, "createType");
    descriptor.create_type = setting.value;
  } else if (same_word(setting.key, "CID")) {
    once.check(once.cid, at, "CID");
    // Xen Orchestra writes the number in decimal digits. They are read as hexadecimal ones, as by qemu, and may be more
    // than 32 bits then.
    const std::optional<uint64_t> value = number<uint64_t>(setting.value, 16);
    if (!value) corrupt(at, "has a malformed CID");
    descriptor.cid = static_cast<uint32_t>(*value);
  } else if (same_word(setting.key, "parentCID")) {
    once.check(once.parent_cid, at, "parentCID");
    const bool none_in_decimal = setting.value == std::to_string(kVmdkNoParent);
    const std::optional<uint32_t> parent = number<uint32_t>(setting.value, 16);
    if (!parent && !none_in_decimal) corrupt(at, "has a malformed parentCID");
    descriptor.parent_cid = none_in_decimal ? kVmdkNoParent : *parent;
  } else if (same_word(setting.key, "parentFileNameHint")) {
    once.check(once.parent_hint, at, "parentFileNameHint");
    descriptor.parent_hint = setting.value;
  } else if (same_word(setting.key, "encoding")) {
    once.check(once.encoding, at, "encoding");
    descriptor.encoding = setting.value;
  }
}

}  // namespace

bool is_vmdk_descriptor(Bytes head) {
  std::string_view rest = as_text(head);
  for (bool first = true; !rest.empty();) {
    std::string_view line = trim(next_line(rest));
    if (line.empty()) continue;
    if (first && line.starts_with('#') && same_word(trim(line.substr(1)), "Disk DescriptorFile")) return true;
    first = false;
    if (!line.starts_with('#')) return line.size() > 8 && same_word(line.substr(0, 8), "version=");
  }
  return false;
}

VmdkDescriptor parse_vmdk_descriptor(Bytes bytes) {
  VmdkDescriptor descriptor;
  OnceOnly once;
  const std::string_view text = vmdk_text(bytes);
  std::string_view rest = text;
  for (size_t at = 1; !rest.empty(); ++at) {
    std::string_view line = trim(next_line(rest));
    if (line.empty() || line.starts_with('#')) continue;
    std::string_view after = line;
    if (is_access(next_word(after)) && !trim(after).starts_with('=')) {
      if (descriptor.extents.size() == kMaxExtents) {
        throw Error(code::kMetadataLimit,
                    "the VMDK descriptor has more than " + std::to_string(kMaxExtents) + " extents");
      }
      descriptor.extents.push_back(parse_extent(line, at));
    } else {
      apply(descriptor, once, parse_key_value(line, at), at);
    }
  }
  const size_t plain = plain_utf8_length(text);
  if (plain != text.size() && !extends_ascii(descriptor.encoding)) {
    throw Error(code::kCorruptImage, "the VMDK descriptor is neither UTF-8 nor of an encoding that it names, at byte " +
                                         std::to_string(plain));
  }
  if (!once.create_type) throw Error(code::kCorruptImage, "the VMDK descriptor has no createType");
  return descriptor;
}

void refuse_unless_one_file(const VmdkDescriptor& descriptor) {
  const std::string& type = descriptor.create_type;
  auto is = [&](std::string_view name) { return same_word(type, name); };
  if (descriptor.parent_cid != kVmdkNoParent || !descriptor.parent_hint.empty()) {
    throw Error(code::kBackingFile, "the VMDK is a delta link: its descriptor names a parent disk");
  }
  if (is("monolithicSparse") || is("streamOptimized")) return;
  if (is("twoGbMaxExtentSparse") || is("twoGbMaxExtentFlat") || is("2GbMaxExtentSparse") || is("2GbMaxExtentFlat")) {
    throw Error(code::kMultiFile, "the VMDK is split into " + std::to_string(descriptor.extents.size()) +
                                      " extent files that its descriptor names; join them with qemu-img convert");
  }
  if (is("seSparse") || is("vmfsSparse")) {
    throw Error(code::kUnsupportedFormat, "the VMDK is an ESX snapshot (COWD or seSparse); export the disk instead");
  }
  if (is("monolithicFlat")) {
    throw Error(code::kExternalData,
                "this is only the descriptor of a flat VMDK; send the -flat.vmdk file beside it, which is a raw disk");
  }
  bool on_vmfs = type.size() >= 4 && same_word(std::string_view(type).substr(0, 4), "vmfs");
  if (on_vmfs || is("fullDevice") || is("partitionedDevice") || is("custom")) {
    throw Error(code::kExternalData,
                "the VMDK's descriptor names a device, partition or VMFS file with the data; export the disk instead");
  }
  throw Error(code::kUnsupportedFormat, "the VMDK's descriptor has an unknown createType");
}

}  // namespace dvcr
