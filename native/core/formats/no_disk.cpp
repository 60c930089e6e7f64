#include "formats/no_disk.h"

#include <algorithm>
#include <array>
#include <bit>

#include "formats/text_file.h"

namespace dvcr {
namespace {

using namespace std::string_view_literals;

struct Mark {
  uint64_t offset;
  std::string_view magic;
};

// Partition tables, file systems, volumes. Magics of two bytes stand far enough inside to mean something.
constexpr std::array kDisks{
    Mark{510, "\x55\xaa"sv},                           // MBR, FAT
    Mark{512, "EFI PART"sv},                           // GPT
    Mark{4096, "EFI PART"sv},                          // GPT, sectors of 4 KiB
    Mark{512, "PM\0\0"sv},                             // Apple partition map
    Mark{508, "\xda\xbe"sv},                           // Sun label
    Mark{512, "\x57\x45\x56\x82"sv},                   // BSD label
    Mark{3, "NTFS    "sv},                             //
    Mark{3, "EXFAT   "sv},                             //
    Mark{54, "FAT1"sv},                                //
    Mark{82, "FAT32   "sv},                            //
    Mark{1080, "\x53\xef"sv},                          // ext2, ext3, ext4
    Mark{0, "XFSB"sv},                                 //
    Mark{65600, "_BHRfS_M"sv},                         // btrfs
    Mark{1024, "\x10\x20\xf5\xf2"sv},                  // f2fs
    Mark{1024, "\xe2\xe1\xf5\xe0"sv},                  // erofs
    Mark{0, "hsqs"sv},                                 // squashfs
    Mark{0, "sqsh"sv},                                 //
    Mark{0, "shsq"sv},                                 //
    Mark{0, "\x45\x3d\xcd\x28"sv},                     // cramfs
    Mark{0, "-rom1fs-"sv},                             //
    Mark{32768, "JFS1"sv},                             //
    Mark{65588, "ReIsEr"sv},                           // reiserfs
    Mark{65536, "ReIsEr4"sv},                          //
    Mark{32, "NXSB"sv},                                // APFS
    Mark{1024, "H+\0\4"sv},                            // HFS+
    Mark{1024, "HX\0\5"sv},                            //
    Mark{9564, "\x54\x19\x01\x00"sv},                  // UFS1
    Mark{66908, "\x19\x01\x54\x19"sv},                 // UFS2
    Mark{4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"sv},  // bcache, bcachefs
    Mark{4096, "\xfc\x4e\x2b\xa9"sv},                  // Linux RAID 1.2
    Mark{0, "\xfc\x4e\x2b\xa9"sv},                     // Linux RAID 1.1
    Mark{0, "LUKS\xba\xbe"sv},                         //
    Mark{4086, "SWAPSPACE2"sv},                        //
    Mark{4086, "SWAP-SPACE"sv},                        //
    Mark{65526, "SWAPSPACE2"sv},                       // pages of 64 KiB
    Mark{0, "LABELONE"sv},                             // LVM, in one of the first four sectors
    Mark{512, "LABELONE"sv},                           //
    Mark{1024, "LABELONE"sv},                          //
    Mark{1536, "LABELONE"sv},                          //
    Mark{0, "UBI#"sv},                                 //
    Mark{0, "\x31\x18\x10\x06"sv},                     // UBIFS
};

constexpr std::string_view kUnpack = "unpack it and import the disk image in it";
constexpr std::string_view kNotThis =
    "it holds no disk; check the path or URL, or declare its format as raw to store it";

consteval RefusedFormat archive(std::string_view name) {
  return {name, code::kUnsupportedFormat, kUnpack, false};
}
consteval RefusedFormat other(std::string_view name) {
  return {name, code::kNotADisk, kNotThis, false};
}

struct Signature {
  uint64_t offset;
  std::string_view magic;
  RefusedFormat format;
};

// From what libmagic knows: the formats that people have next to disks, by four bytes and more.
constexpr std::array kFiles{
    Signature{0, "PK\5\6"sv, archive("an empty zip archive")},
    Signature{0, "Rar!\x1a\7"sv, archive("a rar archive")},
    Signature{0, "MSCF\0\0\0\0"sv, archive("a cabinet archive")},
    Signature{0, "xar!"sv, archive("a xar archive")},
    Signature{0, "070701"sv, archive("a cpio archive")},
    Signature{0, "070702"sv, archive("a cpio archive")},
    Signature{0, "070707"sv, archive("a cpio archive")},
    Signature{0, "\x89LZO\0\r\n\x1a\n"sv, archive("lzop-compressed")},
    Signature{0, "LRZI"sv, archive("lrzip-compressed")},
    Signature{0,
              "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"sv,
              {"a raw CD image with sectors of 2352 bytes", code::kUnsupportedFormat,
               "convert it to ISO first, for example with bchunk", false}},
    Signature{0, "MComprHD"sv, archive("a CHD disc image")},
    Signature{0, "FsA0"sv, archive("an fsarchiver archive")},
    Signature{0,
              "sprs"sv,
              {"an Apple sparse image", code::kUnsupportedFormat, "convert it first, with hdiutil convert", false}},
    Signature{0,
              "Salted__"sv,
              {"encrypted with openssl enc", code::kEncrypted, "decrypt it first, with openssl enc -d", false}},
    Signature{0, "\xed\xab\xee\xdb"sv, other("an RPM package")},
    Signature{0, "!<arch>\n"sv, other("a Debian package or another ar archive")},
    Signature{0,
              "\x7f"
              "ELF"sv,
              other("an ELF program")},
    Signature{0, "\xcf\xfa\xed\xfe"sv, other("a Mach-O program")},
    Signature{0, "\xca\xfe\xba\xbe"sv, other("a Java class or Mach-O program")},
    Signature{0, "\0asm"sv, other("a WebAssembly module")},
    Signature{0, "ANDROID!"sv, other("an Android boot image")},
    Signature{0, "CrAU\0\0"sv, other("an Android update payload")},
    Signature{0, "\x27\x05\x19\x56"sv, other("a U-Boot image")},
    Signature{0, "\xd0\x0d\xfe\xed"sv, other("a device tree or FIT image")},
    Signature{0, "QEVM"sv, other("a saved state of qemu")},
    Signature{0, "KDUMP   "sv, other("a kernel dump")},
    Signature{0, "MDMP"sv, other("a Windows minidump")},
    Signature{0, "regf"sv, other("a Windows registry hive")},
    Signature{0, "ElfFile\0"sv, other("a Windows event log")},
    Signature{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, other("an MSI package or Office document")},
    Signature{0, "SQLite format 3\0"sv, other("an SQLite database")},
    Signature{0, "%PDF-"sv, other("a PDF document")},
    Signature{0, "%!PS"sv, other("a PostScript document")},
    Signature{0, "\x89PNG\r\n\x1a\n"sv, other("a PNG picture")},
    Signature{0, "GIF87a"sv, other("a GIF picture")},
    Signature{0, "GIF89a"sv, other("a GIF picture")},
    Signature{0, "\xff\xd8\xff\xdb"sv, other("a JPEG picture")},
    Signature{0, "\xff\xd8\xff\xe0"sv, other("a JPEG picture")},
    Signature{0, "\xff\xd8\xff\xe1"sv, other("a JPEG picture")},
    Signature{0, "II*\0"sv, other("a TIFF picture")},
    Signature{0, "MM\0*"sv, other("a TIFF picture")},
    Signature{0, "RIFF"sv, other("a sound, video or WebP file")},
    Signature{4, "ftyp"sv, other("an MP4 video")},
    Signature{0, "OggS"sv, other("an Ogg sound file")},
    Signature{0, "fLaC"sv, other("a FLAC sound file")},
    Signature{0, "\x1a\x45\xdf\xa3"sv, other("a Matroska video")},
    Signature{0, "PACK\0\0\0\2"sv, other("a git pack")},
    Signature{0, "\xd4\xc3\xb2\xa1"sv, other("a packet capture")},
    Signature{0, "\x0a\x0d\x0d\x0a"sv, other("a packet capture")},
    Signature{0, "\x89HDF\r\n\x1a\n"sv, other("an HDF5 file")},
    Signature{0, "GGUF"sv, other("a GGUF model")},
    Signature{0, "PAR1"sv, other("a Parquet file")},
};

constexpr RefusedFormat kLzma = archive("compressed with lzma (the format before xz)");
constexpr RefusedFormat kCompress = archive("compressed with compress (.Z)");
constexpr RefusedFormat kProgram = other("a Windows or EFI program");

// The header of LZMA alone: properties, size of the dictionary, unpacked size or -1 (lzma-file-format.txt of the SDK).
bool is_lzma(Bytes head) {
  constexpr uint64_t kUnknown = ~uint64_t{0};
  constexpr uint64_t kLargest = uint64_t{1} << 48;
  if (head.size() < 13 || head[0] != 0x5d) return false;
  const uint64_t dictionary = le32(head, 1);
  const uint64_t size = le64(head, 5);
  const bool usual = dictionary >= 4096 && (std::has_single_bit(dictionary) || std::has_single_bit(dictionary / 3));
  return usual && (size == kUnknown || (size > 0 && size < kLargest));
}

// Only three bytes, of which the last says how many bits the codes have: 9 to 16, and that they may be cleared.
bool is_compress(Bytes head) {
  return has_magic(head, 0, "\x1f\x9d"sv) && head.size() > 3 && head[2] >= 0x89 && head[2] <= 0x90;
}

bool is_program(Bytes head) {
  if (!has_magic(head, 0, "MZ"sv) || head.size() < 64) return false;
  return has_magic(head, le32(head, 60), "PE\0\0"sv);
}

}  // namespace

bool begins_as_disk(Bytes head) {
  constexpr size_t kSector = 512;
  if (is_zero(head.first(std::min(head.size(), kSector)))) return true;
  return std::any_of(kDisks.begin(), kDisks.end(),
                     [&](const Mark& mark) { return has_magic(head, mark.offset, mark.magic); });
}

const RefusedFormat* known_as_no_disk(Bytes head) {
  for (const Signature& signature : kFiles) {
    if (has_magic(head, signature.offset, signature.magic)) return &signature.format;
  }
  if (is_lzma(head)) return &kLzma;
  if (is_compress(head)) return &kCompress;
  if (is_program(head)) return &kProgram;
  return text_file(head);
}

}  // namespace dvcr
