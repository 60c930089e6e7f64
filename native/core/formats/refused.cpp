#include "formats/refused.h"

#include <array>

namespace dvcr {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kConvert = "convert it first, for example with qemu-img convert -O qcow2";
constexpr std::string_view kUnpack = "unpack it and import the disk image in it";

struct Signature {
  uint64_t offset;
  std::string_view magic;
  RefusedFormat format;
};

constexpr std::array kSignatures{
    Signature{0, "QFI\xfb\0\0\0\1"sv, {"qcow (version 1)", code::kUnsupportedFormat, kConvert, true}},
    Signature{0, "QED\0"sv, {"QED", code::kUnsupportedFormat, kConvert, true}},
    Signature{0, "WithoutFreeSpace"sv, {"a Parallels disk", code::kUnsupportedFormat, kConvert, true}},
    Signature{0, "WithouFreSpacExt"sv, {"a Parallels disk", code::kUnsupportedFormat, kConvert, true}},
    Signature{0, "#!/bin/sh\n#V2.0 Format\n"sv, {"a cloop disk", code::kUnsupportedFormat, kConvert, false}},
    Signature{0, "Bochs Virtual HD Image"sv, {"a Bochs disk", code::kUnsupportedFormat, kConvert, false}},
    Signature{0, "COWD\1\0\0\0"sv, {"an ESX snapshot (COWD)", code::kUnsupportedFormat, kConvert, true}},
    Signature{
        0, "\xbe\xba\xfe\xca\0\0\0\0"sv, {"an ESX snapshot (seSparse)", code::kUnsupportedFormat, kConvert, true}},
    Signature{0,
              "LUKS\xba\xbe"sv,
              {"a disk encrypted with LUKS", code::kEncrypted,
               "decrypt it first, or declare its format as raw to store it encrypted", false}},
    Signature{0, "MSWIM\0\0\0"sv, {"a WIM archive", code::kUnsupportedFormat, "apply it to a disk first", false}},
    Signature{0,
              "EVF\t\r\n\xff\0"sv,
              {"an EWF (EnCase) image", code::kUnsupportedFormat, "export it as raw first, for example with ewfexport",
               false}},
    Signature{0,
              "EVF2\r\n\x81\0"sv,
              {"an EWF (EnCase) image", code::kUnsupportedFormat, "export it as raw first, for example with ewfexport",
               false}},
    Signature{0, "shdw"sv, {"an Apple sparse disk (ASIF)", code::kUnsupportedFormat, "export it as raw first", false}},
    Signature{
        0,
        "encrcdsa"sv,
        {"an encrypted Apple disk image (DMG)", code::kEncrypted, "decrypt it first, with hdiutil convert", false}},
    Signature{0,
              "VMA\0"sv,
              {"a Proxmox backup (VMA)", code::kUnsupportedFormat, "take the disk out with vma extract", false}},
    Signature{0,
              "\x3a\xff\x26\xed"sv,
              {"an Android sparse image", code::kUnsupportedFormat, "unpack it with simg2img", false}},
    Signature{0,
              "partclone-image"sv,
              {"a partclone image", code::kUnsupportedFormat, "restore it with partclone.restore", false}},
    Signature{
        0, "PaRtImAgE-VoLuMe"sv, {"a partimage image", code::kUnsupportedFormat, "restore it with partimage", false}},
    Signature{0,
              "\0ntfsclone-image"sv,
              {"an ntfsclone image", code::kUnsupportedFormat, "restore it with ntfsclone --restore-image", false}},
    Signature{0,
              "AFF10\r\n\0"sv,
              {"an AFF image", code::kUnsupportedFormat, "export it as raw first, with affconvert -r", false}},
    Signature{0, "\x04\x22\x4d\x18"sv, {"lz4-compressed", code::kUnsupportedFormat, kUnpack, false}},
    Signature{0, "LZIP\1"sv, {"lzip-compressed", code::kUnsupportedFormat, kUnpack, false}},
    Signature{0, "PK\3\4"sv, {"a zip archive", code::kUnsupportedFormat, kUnpack, false}},
    Signature{0, "7z\xbc\xaf\x27\x1c"sv, {"a 7z archive", code::kUnsupportedFormat, kUnpack, false}},
};

constexpr RefusedFormat kDmg{"an Apple disk image (DMG)", code::kUnsupportedFormat, kConvert, false};

constexpr uint64_t kTrailerSize = 512;

}  // namespace

const RefusedFormat* refused_format(Bytes head) {
  for (const Signature& signature : kSignatures) {
    if (has_magic(head, signature.offset, signature.magic)) return &signature.format;
  }
  return nullptr;
}

const RefusedFormat* refused_trailer(Bytes last512) {
  // The version and the header's own size stand behind the magic.
  bool koly = last512.size() == kTrailerSize && has_magic(last512, 0, "koly"sv) && be32(last512, 4) == 4 &&
              be32(last512, 8) == kTrailerSize;
  return koly ? &kDmg : nullptr;
}

const RefusedFormat* refused_by_trailer(ByteSource& source) {
  RangeReader* ranges = source.ranges();
  if (ranges == nullptr || ranges->size() < kTrailerSize) return nullptr;
  std::array<uint8_t, kTrailerSize> trailer;
  return ranges->read_at(ranges->size() - kTrailerSize, trailer) ? refused_trailer(trailer) : nullptr;
}

std::string refused_text(const RefusedFormat& refused) {
  return "this is " + std::string(refused.name) + ": " + std::string(refused.advice);
}

void throw_refused(const RefusedFormat& refused) {
  throw Error(refused.code, refused_text(refused));
}

}  // namespace dvcr
