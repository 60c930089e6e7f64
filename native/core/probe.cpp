// Which format a stream holds, by its content alone. A name or a media type never decides.
#include <algorithm>
#include <array>

#include "disk_image.h"
#include "formats/format.h"
#include "formats/no_disk.h"
#include "formats/qcow2.h"
#include "formats/raw.h"
#include "formats/refused.h"
#include "formats/vdi.h"
#include "formats/vhd.h"
#include "formats/vhdx.h"
#include "formats/vmdk.h"

namespace dvcr {

namespace {

// One row a line.
// clang-format off
constexpr std::array kFormats{
    Format{"qcow2", probe_qcow2, open_qcow2, true, false},
    Format{"vmdk", probe_vmdk, open_vmdk, true, false},
    Format{"vdi", probe_vdi, open_vdi, true, false},
    Format{"vpc", probe_vhd, open_vhd, true, true},
    Format{"vhdx", probe_vhdx, open_vhdx, true, false},
    Format{"iso", probe_iso, open_iso, false, false},
};
// clang-format on

const Format* format_named(std::string_view name) {
  for (const Format& format : kFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

[[noreturn]] void throw_ambiguous(std::string_view one, std::string_view other) {
  throw Error(code::kAmbiguous, "the file is both " + std::string(one) + " and " + std::string(other) +
                                    ", which no honest tool writes: convert it again from its origin");
}

struct Match {
  const Format* format = nullptr;
  const RefusedFormat* refused = nullptr;
};

// A boot record or a partition table is content of a raw disk or of an isohybrid ISO, not a format of its own, so it
// takes part in no ambiguity.
Match recognise(Bytes head) {
  Match match;
  match.refused = refused_format(head);
  for (const Format& format : kFormats) {
    if (!format.probe(head)) continue;
    if (match.format != nullptr) throw_ambiguous(match.format->name, format.name);
    if (match.refused != nullptr) throw_ambiguous(match.refused->name, format.name);
    match.format = &format;
  }
  return match;
}

std::string_view name_of(const Match& match) {
  if (match.format != nullptr) return match.format->name;
  return match.refused != nullptr ? match.refused->name : "raw";
}

}  // namespace

std::unique_ptr<DiskImage> open_image(PrefixSource& source, ImageReader& reader, const OpenOptions& options) {
  Bytes head = source.prefix(kProbeSize);
  if (head.empty()) throw Error(code::kEmpty, "the source has no bytes");
  const std::string& declared = options.declared_format;
  // What a raw disk looks like says nothing of it; an image within it is refused later, by its converted content.
  if (options.source_is_disk || declared == "raw") return open_raw(reader);
  if (!declared.empty()) {
    const Format* format = format_named(declared);
    if (format == nullptr) {
      throw Error(code::kUnsupportedFormat, "the declared format is not one that can be imported");
    }
    Match match = recognise(head);
    if (match.format == format || (name_of(match) == "raw" && format->trailing)) {
      return format->open(reader);
    }
    throw Error(code::kFormatMismatch,
                "the file was declared as " + declared + " but looks like " + std::string(name_of(match)));
  }
  Match match = recognise(head);
  if (match.refused == nullptr && match.format == nullptr) match.refused = refused_by_trailer(source);
  if (match.refused != nullptr) throw_refused(*match.refused);
  if (match.format != nullptr) return match.format->open(reader);
  // A fixed VHD and a DMG show only at their end: here where the origin can be asked for it, else when it arrives.
  if (ends_with_vhd_footer(source)) return open_fixed_vhd(reader);
  const bool disk = begins_as_disk(head);
  const RefusedFormat* other = disk ? nullptr : known_as_no_disk(head);
  if (other != nullptr) throw_refused(*other);
  return open_undeclared_raw(reader, disk);
}

std::string_view recognised_format(Bytes head) {
  for (const Format& format : kFormats) {
    if (format.probe(head)) return format.name;
  }
  const RefusedFormat* refused = refused_format(head);
  return refused != nullptr ? refused->name : std::string_view();
}

std::string_view nested_format(Bytes head) {
  for (const Format& format : kFormats) {
    if (format.nested && format.probe(head)) return format.name;
  }
  const RefusedFormat* refused = refused_format(head);
  return refused != nullptr && refused->nested ? refused->name : std::string_view();
}

void refuse_nested(Bytes content) {
  constexpr size_t kNestedProbe = 64 * 1024;
  const std::string_view format = nested_format(content.first(std::min(content.size(), kNestedProbe)));
  if (format.empty()) return;
  throw Error(code::kNested, "the content of the disk begins like another image: " + std::string(format));
}

}  // namespace dvcr
