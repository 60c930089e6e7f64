#include "ovf.h"

#include <expat.h>

#include <algorithm>
#include <map>
#include <memory>
#include <new>
#include <type_traits>

namespace dvcr {
namespace {

constexpr size_t kMaxFiles = 4096;

struct FreeParser {
  void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
};
using Parser = std::unique_ptr<std::remove_pointer_t<XML_Parser>, FreeParser>;

/// Prefixes of namespaces differ from writer to writer, and no two elements that matter differ by their namespace.
std::string_view local_name(std::string_view name) {
  return name.substr(name.rfind(':') + 1);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0;
    if (escape && hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Collects from the elements `File` and `Disk` of an `Envelope`.
class Descriptor {
 public:
  explicit Descriptor(XML_Parser parser) : parser_(parser) {}
  void stop() { XML_StopParser(parser_, XML_FALSE); }
  void element(std::string_view name, const XML_Char** attributes) {
    if (depth_++ == 0) is_envelope_ = name == "Envelope";
    if (name == "File" && files_.size() < kMaxFiles) {
      files_[value(attributes, "id")] = value(attributes, "href");
    } else if (name == "Disk" && wanted_.size() < kMaxFiles) {
      std::string file = value(attributes, "fileRef");
      // A disk without a file is an empty one, made when the machine is.
      if (!file.empty()) wanted_.push_back(std::move(file));
    }
  }
  void end() { --depth_; }
  [[nodiscard]] bool is_envelope() const { return is_envelope_; }
  [[nodiscard]] std::vector<std::string> disks() const {
    std::vector<std::string> names;
    for (const std::string& id : wanted_) {
      auto file = files_.find(id);
      if (file == files_.end() || file->second.empty()) continue;
      std::string name = percent_decoded(file->second);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
    return names;
  }

 private:
  static std::string value(const XML_Char** attributes, std::string_view name) {
    for (; *attributes != nullptr; attributes += 2) {
      if (local_name(attributes[0]) == name) return attributes[1];
    }
    return {};
  }

  XML_Parser parser_;
  unsigned depth_ = 0;
  bool is_envelope_ = false;
  std::map<std::string, std::string> files_;  // name by id
  std::vector<std::string> wanted_;           // ids
};

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::optional<ManifestLine> parse_line(std::string_view line) {
  const size_t open = line.find('(');
  const size_t equals = line.rfind('=');
  if (open == std::string_view::npos || equals == std::string_view::npos || equals < open) return std::nullopt;
  const size_t close = line.substr(0, equals).rfind(')');
  if (close == std::string_view::npos || close < open) return std::nullopt;
  ManifestLine out{lower(trimmed(line.substr(0, open))), std::string(line.substr(open + 1, close - open - 1)),
                   lower(trimmed(line.substr(equals + 1)))};
  const size_t digits = out.algorithm == "sha1" ? 40 : out.algorithm == "sha256" ? 64 : 128;
  const bool known = digits != 128 || out.algorithm == "sha512";
  const bool hex = std::all_of(out.digest.begin(), out.digest.end(), [](char c) { return hex_digit(c) >= 0; });
  if (!known || !hex || out.digest.size() != digits) return std::nullopt;
  return out;
}

}  // namespace

std::optional<std::vector<std::string>> ovf_disks(Bytes text) {
  if (text.size() > kMaxOvfText) return std::nullopt;
  const Parser parser(XML_ParserCreate(nullptr));
  if (!parser) throw std::bad_alloc();
  Descriptor descriptor(parser.get());
  XML_SetUserData(parser.get(), &descriptor);
  XML_SetElementHandler(
      parser.get(),
      [](void* self, const XML_Char* name, const XML_Char** attributes) {
        static_cast<Descriptor*>(self)->element(local_name(name), attributes);
      },
      [](void* self, const XML_Char*) { static_cast<Descriptor*>(self)->end(); });
  // No descriptor has a document type, and what one defines is not ours to expand.
  XML_SetDoctypeDeclHandler(
      parser.get(),
      [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
        static_cast<Descriptor*>(self)->stop();
      },
      nullptr);
  const XML_Status status =
      XML_Parse(parser.get(), reinterpret_cast<const char*>(text.data()), static_cast<int>(text.size()), XML_TRUE);
  if (status != XML_STATUS_OK || !descriptor.is_envelope()) return std::nullopt;
  return descriptor.disks();
}

std::vector<ManifestLine> parse_ova_manifest(Bytes text) {
  std::vector<ManifestLine> lines;
  std::string_view rest = as_text(text);
  while (!rest.empty() && lines.size() < kMaxFiles) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    if (std::optional<ManifestLine> line = parse_line(trimmed(rest.substr(0, end)))) lines.push_back(std::move(*line));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

bool same_file_name(std::string_view a, std::string_view b) {
  auto base = [](std::string_view name) { return name.substr(name.rfind('/') + 1); };
  return !base(a).empty() && base(a) == base(b);
}

}  // namespace dvcr
