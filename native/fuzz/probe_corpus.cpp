#include "probe_corpus.h"

#include <array>
#include <string>

#include "block_images.h"

namespace dvcr::fuzz {

namespace {

using namespace std::string_view_literals;

/// A partition table whose numbers fit each other, so that it says how long the disk is.
Buffer gpt_disk(uint64_t sector) {
  Buffer disk(sector + 4096);
  test::put_text(disk, sector, "EFI PART");
  test::put_le(disk, sector + 24, 8, 1);
  test::put_le(disk, sector + 32, 8, 99);
  test::put_le(disk, sector + 40, 8, 34);
  test::put_le(disk, sector + 48, 8, 66);
  return disk;
}

/// A volume descriptor that says how long the disc is, in both byte orders.
Buffer iso_disc() {
  constexpr size_t kDescriptor = 32768;
  Buffer disc(40 * kKiB);
  test::put_text(disc, kDescriptor, "\1CD001\1");
  test::put_le(disc, kDescriptor + 80, 4, 20);
  test::put_be(disc, kDescriptor + 84, 4, 20);
  test::put_le(disc, kDescriptor + 128, 2, 2048);
  test::put_be(disc, kDescriptor + 130, 2, 2048);
  return disc;
}

/// One file for each way in which what is no disk is known: by its text, its magic or its fields.
std::vector<Buffer> no_disk_seeds() {
  constexpr std::array kBeginnings{
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"sv,
      "\xef\xbb\xbf \r\n<!DOCTYPE html><html>\xc3\xa9</html>"sv,
      "<?xml version='1.0'?><Envelope xmlns='http://schemas.dmtf.org/ovf/envelope/1'/>"sv,
      "{\"error\": \"\x1b[1mnot found\x1b[0m\"}\f"sv,
      "-----BEGIN CERTIFICATE-----\n"sv,
      "#!/bin/sh\n"sv,
      "a text that says nothing\n"sv,
      "no text \xff\xfe\n"sv,
      "cut within a character \xe2\x82"sv,
      "Rar!\x1a\7\0"sv,
      "%PDF-1.7\n"sv,
      "\x89PNG\r\n\x1a\n"sv,
      "\0\0\0\x18"
      "ftypisom"sv,
      "\x1f\x9d\x90\0"sv,
      "]\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0"sv,
      "]\0\0\x80\0\0\0\0\0\0\0\0\0\0"sv,
  };
  std::vector<Buffer> seeds;
  for (std::string_view text : kBeginnings) seeds.emplace_back(text.begin(), text.end());
  Buffer program(512);
  test::put_text(program, 0, "MZ");
  test::put_le(program, 60, 4, 128);
  test::put_text(program, 128, "PE\0\0"sv);
  seeds.push_back(program);
  const std::string line = "a line of a text that is longer than what is looked at \xc3\xa9\n";
  Buffer text;
  while (text.size() < 6000) text.insert(text.end(), line.begin(), line.end());
  for (size_t shift = 0; shift < 2; ++shift)
    seeds.emplace_back(text.begin() + static_cast<ptrdiff_t>(shift), text.end());
  return seeds;
}

}  // namespace

std::vector<Buffer> first_bytes_seeds() {
  struct Mark {
    size_t offset;
    std::string_view text;
  };
  constexpr std::array kMarks{
      Mark{0, "QFI\xfb\0\0\0\3"sv},
      Mark{0, "QFI\xfb\0\0\0\1"sv},
      Mark{0, "QED\0"sv},
      Mark{0, "KDMV\1\0\0\0"sv},
      Mark{0, "COWD"sv},
      Mark{0, "\xbe\xba\xfe\xca\0\0\0\0"sv},
      Mark{0, "# Disk DescriptorFile\n"sv},
      Mark{64, "\x7f\x10\xda\xbe"sv},
      Mark{0, "conectix"sv},
      Mark{0, "vhdxfile"sv},
      Mark{32768, "\1CD001\1"sv},
      Mark{0, "WithoutFreeSpace"sv},
      Mark{0, "LUKS\xba\xbe"sv},
      Mark{0, "MSWIM\0\0\0"sv},
      Mark{0, "EVF\t\r\n\xff\0"sv},
      Mark{0, "PK\3\4"sv},
      Mark{0, "\x1f\x8b\x08"sv},
      Mark{0,
           "\xfd"
           "7zXZ\0"sv},
      Mark{0, "\x28\xb5\x2f\xfd"sv},
      Mark{0, "BZh9"sv},
      Mark{257, "ustar\0"sv},
      Mark{512, "EFI PART"sv},
      Mark{510, "\x55\xaa"sv},
      Mark{32768, "\0BEA01\1"sv},
  };
  std::vector<Buffer> seeds;
  for (const Mark& mark : kMarks) {
    Buffer head(mark.offset + 2048);
    test::put_text(head, mark.offset, mark.text);
    seeds.push_back(head);
    head.resize(40 * kKiB);
    test::put_text(head, 32768, "\1CD001\1");
    seeds.push_back(std::move(head));
  }
  for (uint64_t sector : {uint64_t{512}, uint64_t{4096}}) seeds.push_back(gpt_disk(sector));
  seeds.push_back(iso_disc());
  seeds.push_back(test::make_fixed_vhd(Buffer(4096)));
  seeds.push_back(test::make_fixed_vhd(Buffer(4096)));
  seeds.back().resize(seeds.back().size() + 1);  // a byte behind its footer
  Buffer dmg(4096);
  test::put_text(dmg, 3584, "koly\0\0\0\4\0\0\2\0"sv);
  seeds.push_back(dmg);
  seeds.emplace_back();
  for (Buffer& seed : no_disk_seeds()) seeds.push_back(std::move(seed));
  return seeds;
}

}  // namespace dvcr::fuzz
