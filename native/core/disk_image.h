// One interface for every disk format. A format is one file in formats/ and one row of the table in probe.cpp;
// the same object says what an image is (inspect) and gives its content (import), so that no two parsers can
// ever disagree about one file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "extent_sink.h"
#include "image_reader.h"

namespace dvcr {

/// A named fact for `inspect`, in the order it is printed. Names follow qemu-img's JSON (`format-specific`).
struct Field;
using FieldRows = std::vector<std::vector<Field>>;  ///< a list of objects
using FieldValue = std::variant<bool, uint64_t, std::string, std::vector<std::string>, FieldRows>;
struct Field {
  std::string name;
  FieldValue value;
  bool operator==(const Field&) const = default;
};

struct DiskInfo {
  std::string format;                    ///< qemu-img's name: raw, qcow2, vmdk, vdi, vpc, vhdx; and iso
  std::optional<uint64_t> virtual_size;  ///< bytes; nothing for a raw disk whose length is not known yet
  uint64_t footer_size = 0;              ///< bytes of the file behind a disk of unknown size (a fixed VHD's footer)
  uint64_t cluster_size = 0;             ///< bytes; 0 where the format has none
  std::vector<Field> specific;           ///< format-specific data
  std::vector<std::string> warnings;     ///< one-line notes, e.g. that the dirty bit was set
};

class DiskImage {
 public:
  virtual ~DiskImage() = default;
  /// Known after construction, from the headers alone.
  [[nodiscard]] virtual const DiskInfo& info() const = 0;
  /// Emits the whole disk in guest order. Returns after the last extent; does not drain the stream.
  /// Throws Error.
  virtual void convert(ExtentSink& sink) = 0;
};

/// What open_image() may be told beforehand.
struct OpenOptions {
  std::string declared_format;  ///< the user's --src-format, empty when undeclared -> kFormatMismatch
  bool source_is_disk = false;  ///< the content is a disk's own bytes whatever they look like (a block device)
};

/// Recognises the image from the first bytes of `source` and parses its headers.
/// Throws kUnsupportedFormat (naming what it is), kAmbiguous, kFormatMismatch, kEmpty and each format's own codes.
std::unique_ptr<DiskImage> open_image(PrefixSource& source, ImageReader& reader, const OpenOptions& options);

/// Name of the format that `head`, the first bytes of a file (kProbeSize of them), begins with, be it read or refused;
/// empty for what would be taken as raw. Used to find the disk in an archive.
std::string_view recognised_format(Bytes head);

/// Name of the image format that `head` (the first bytes of converted guest data, up to 64 KiB) begins with, or
/// empty. Used to refuse an image within an image (CVE-2015-1851 and its like).
std::string_view nested_format(Bytes head);

/// Throws kNested where a disk's content begins so.
void refuse_nested(Bytes content);

/// Bytes that open_image() looks at: the UDF sequence ends before this.
inline constexpr size_t kProbeSize = 68 * 1024;

}  // namespace dvcr
