#include "corpus.h"

#include <algorithm>
#include <array>
#include <functional>

#include "archive_corpus.h"
#include "block_images.h"
#include "unpack_inputs.h"
#include "vmdk_maker.h"

namespace dvcr::fuzz {

namespace {

using namespace std::string_view_literals;
using test::run;
using test::TempDir;

/// Small disks in which every second piece is a hole, so that tables, data and zeros all occur.
constexpr size_t kSmall = 48 * kKiB;

Buffer small_disk(uint64_t seed, size_t size = kSmall) {
  return test::patchy_disk(size, 4096, seed);
}

Buffer of_qemu(const std::vector<std::string>& options, const std::vector<std::vector<std::string>>& afterwards = {}) {
  TempDir directory;
  const std::string raw = directory.path("raw");
  const std::string image = directory.path("image");
  test::write_file(raw, small_disk(1));
  std::vector<std::string> command{"qemu-img", "convert", "-f", "raw", "-O", "qcow2"};
  command.insert(command.end(), options.begin(), options.end());
  command.insert(command.end(), {raw, image});
  run(command);
  for (std::vector<std::string> next : afterwards) {
    next.push_back(image);
    run(next);
  }
  return test::read_file(image);
}

std::vector<Buffer> qcow2_seeds() {
  const std::vector<std::string> io{"qemu-io", "-f", "qcow2"};
  auto writes = [&](std::initializer_list<const char*> commands) {
    std::vector<std::string> out = io;
    for (const char* text : commands) out.insert(out.end(), {"-c", text});
    return out;
  };
  std::vector<Buffer> seeds{
      of_qemu({"-o", "cluster_size=512"}),
      of_qemu({"-o", "cluster_size=512,compat=0.10"}),
      of_qemu({"-o", "cluster_size=4k"}),
      of_qemu({"-c", "-o", "cluster_size=512"}),
      of_qemu({"-c", "-o", "cluster_size=4k"}),
      of_qemu({"-c", "-o", "cluster_size=4k,compression_type=zstd"}),
      of_qemu({"-c", "-W", "-o", "cluster_size=1k"}),
      of_qemu({"-o", "cluster_size=16k,extended_l2=on"}),
      of_qemu({"-c", "-o", "cluster_size=16k,extended_l2=on"}),
      of_qemu({"-o", "cluster_size=512"}, {{"qemu-img", "snapshot", "-c", "one"}, writes({"write -P 7 8k 4k"})}),
      of_qemu({"-o", "cluster_size=512"}, {writes({"write -z 4k 8k", "discard 20k 4k", "write -P 9 0 512"})}),
      of_qemu({"-o", "cluster_size=16k,extended_l2=on"}, {writes({"write -z 3k 2k", "write -P 3 17k 512"})}),
      of_qemu({"-o", "cluster_size=4k,preallocation=metadata"}),
      of_qemu({"-o", "cluster_size=4k,lazy_refcounts=on"}),
  };
  TempDir directory;
  const std::string grown = directory.path("grown");
  run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", grown, "24k"});
  run({"qemu-io", "-f", "qcow2", "-c", "write -P 5 20k 2k", "-c", "write -P 6 0 2k", grown});
  run({"qemu-img", "resize", "-q", "-f", "qcow2", grown, "3M"});
  seeds.push_back(test::read_file(grown));
  Buffer luks = seeds.front();
  test::put_be(luks, 32, 4, 2);
  seeds.push_back(luks);
  return seeds;
}

std::vector<Buffer> vmdk_seeds() {
  const Buffer disk = small_disk(2);
  std::vector<Buffer> seeds;
  test::VmdkSpec tiny{.grain_sectors = 8};
  test::VmdkSpec zeros{.grain_sectors = 8, .zero_grains = true};
  test::VmdkSpec reversed{.version = 3, .grain_sectors = 8, .order = {11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}};
  test::VmdkSpec late{.version = 3, .grain_sectors = 8, .short_last = false, .late_tables = true};
  for (const test::VmdkSpec& spec : {tiny, zeros, reversed, late}) {
    seeds.push_back(test::make_sparse_vmdk(disk, spec).bytes);
    seeds.push_back(test::make_front_vmdk(disk, spec).bytes);
    seeds.push_back(test::make_stream_vmdk(disk, spec).bytes);
  }
  const Buffer odd = small_disk(3, kSmall + 3 * 512);
  seeds.push_back(test::make_stream_vmdk(odd, tiny).bytes);
  // Two tables, the first with a grain, the second empty.
  Buffer wide(5 * 512 * kKiB);
  std::fill_n(wide.begin(), 4096, uint8_t{7});
  seeds.push_back(test::make_stream_vmdk(wide, tiny).bytes);
  const std::string flat = test::vmdk_descriptor("monolithicFlat", {"RW 96 FLAT \"/etc/passwd\" 0"});
  seeds.emplace_back(flat.begin(), flat.end());
  seeds.push_back(test::make_sparse_vmdk(disk, {.grain_sectors = 8, .descriptor = flat}).bytes);
  Buffer cowd(2048);
  test::put_text(cowd, 0, "COWD\1");
  seeds.push_back(cowd);
  return seeds;
}

std::vector<Buffer> vdi_seeds() {
  const Buffer disk = small_disk(4);
  Buffer discarded = test::make_vdi(disk);
  test::put_le(discarded, test::kVdiMap + 4, 4, 0xfffffffe);
  Buffer twice = test::make_vdi(disk);
  test::put_le(twice, test::kVdiMap + 8, 4, le32(twice, test::kVdiMap));
  return {test::make_vdi(disk),
          test::make_vdi(disk, {.fixed = true}),
          test::make_vdi(disk, {.block_extra = 512, .order = test::Order::kReverse}),
          test::make_vdi(small_disk(5, kSmall + 512), {.order = test::Order::kShuffled}),
          discarded,
          twice};
}

std::vector<Buffer> vhd_seeds() {
  const Buffer disk = small_disk(6);
  Buffer differencing = test::make_dynamic_vhd(disk);
  test::put_be(differencing, 60, 4, 4);
  test::seal_vhd_footer(differencing, 0);
  Buffer without_copy = test::make_dynamic_vhd(disk);
  without_copy.resize(without_copy.size() - 512);
  return {test::make_dynamic_vhd(disk),
          test::make_dynamic_vhd(disk, {.order = test::Order::kReverse, .sparse_bitmaps = true}),
          test::make_dynamic_vhd(small_disk(7, kSmall + 512), {.order = test::Order::kLastFirst, .creator = "qemu"}),
          test::make_fixed_vhd(disk),
          test::make_fixed_vhd(disk, "vpc "),
          differencing,
          without_copy};
}

std::vector<Buffer> vhdx_seeds() {
  Buffer disk(3 * kMiB);
  for (size_t at : {size_t{0}, size_t{kMiB + 8192}, size_t{2 * kMiB + 512}}) {
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(at), 600, static_cast<uint8_t>(at / 512 + 1));
  }
  const Buffer plain = test::make_vhdx(disk);
  Buffer logged = plain;
  Buffer sector(4096, 9);
  size_t next = test::add_log_entry(logged, 0, 0, 5, {{.offset = test::kVhdxTable + 4096, .sector = sector}});
  test::add_log_entry(logged, next, 0, 6,
                      {{.offset = 4 * kMiB, .zeros = 8192}, {.offset = 5 * kMiB, .sector = sector}});
  Buffer wrapped = plain;
  next = test::add_log_entry(wrapped, kMiB - 4096, kMiB - 4096, 9, {{.offset = 4 * kMiB, .sector = sector}});
  Buffer differencing = plain;
  test::put_le(differencing, test::kVhdxItems + 4, 4, 2);
  Buffer partial = plain;
  partial[test::kVhdxTable] = static_cast<uint8_t>(partial[test::kVhdxTable] + 1);
  Buffer one_header = plain;
  one_header[test::kVhdxHeaders[0] + 100] ^= 1;
  return {plain,
          test::make_vhdx(disk, {.order = test::Order::kReverse, .twin_headers = true}),
          test::make_vhdx(disk, {.block_size = 2 << 20, .sector_size = 4096}),
          logged,
          wrapped,
          differencing,
          partial,
          one_header};
}

Buffer nested_gzip(unsigned depth) {
  Buffer out = test::sample_content(3000);
  for (; depth > 0; --depth) out = test::gzip_member(out);
  return out;
}

std::vector<Buffer> unpack_seeds() {
  const Buffer content = test::sample_content(6000);
  std::vector<Buffer> seeds{nested_gzip(2), nested_gzip(3), test::zstd_frame(content, 20, false), content};
  for (Compression compression : {Compression::kGzip, Compression::kXz, Compression::kZstd, Compression::kBzip2}) {
    const Buffer one = test::packed(compression, content);
    seeds.insert(seeds.end(), {one, test::joined({one, one}), test::joined({one, Buffer(512)}),
                               test::joined({one, test::noise(40, 1)})});
    seeds.push_back(test::gzip_member(one));
  }
  seeds.push_back(test::xz_blocks(content, 2000));
  seeds.push_back(test::xz_stream(content, 128 << 20));
  seeds.push_back(test::zstd_frame(Buffer(3 * kMiB), 27));
  seeds.push_back(test::joined({test::zstd_skippable(100), test::zstd_frame(content), test::zstd_skippable(9)}));
  seeds.push_back(test::gzip_member(Buffer(8 * kMiB)));
  seeds.push_back(test::gzip_member({}));
  return seeds;
}

std::vector<Buffer> descriptor_seeds() {
  const std::string sparse = test::sparse_extent(96);
  const std::string none = "ffffffff";
  std::vector<std::string> texts{
      test::vmdk_descriptor("monolithicSparse", {sparse}),
      test::vmdk_descriptor("streamOptimized", {"RDONLY 96 SPARSE \"a b.vmdk\""}),
      test::vmdk_descriptor("monolithicSparse", {sparse}, "12345678"),
      test::vmdk_descriptor("monolithicFlat", {"RW 96 FLAT \"/etc/passwd\" 0"}),
      test::vmdk_descriptor("twoGbMaxExtentSparse", {sparse, sparse, "NOACCESS 8 ZERO"}),
      test::vmdk_descriptor("vmfsSparse", {"RW 96 VMFSSPARSE \"x\""}),
      test::vmdk_descriptor("vmfsRDM", {"RW 96 VMFSRDM \"/dev/sda\""}),
      test::vmdk_descriptor("seSparse", {"RW 96 SESPARSE \"x\""}),
      test::vmdk_descriptor("fullDevice", {"RW 96 FLAT \"\\\\.\\PhysicalDrive0\" 0"}),
      test::vmdk_descriptor("custom", {"RW 18446744073709551616 FLAT \"x\" -1"}),
      "version=1\r\nencoding=\"UTF-8\"\r\nCID=fffffffe\r\nparentCID=ffffffff\r\nisNativeSnapshot=\"no\"\r\n"
      "createType=\"streamOptimized\"\r\nRDONLY 96 SPARSE \"x.vmdk\"\r\n",
      test::vmdk_descriptor("monolithicSparse", {"RW 96 SPARSE \"B\xc3\xbcro \xe7\xa3\x81 \xf0\x9f\x92\xbe.vmdk\""}),
      "encoding=\"windows-1252\"\n" + test::vmdk_descriptor("monolithicSparse", {"RW 96 SPARSE \"B\xfcro.vmdk\""}),
      "encoding=\"GBK\"\n" + test::vmdk_descriptor("monolithicSparse", {"RW 96 SPARSE \"\xb4\xc5.vmdk\""}),
      "# Disk DescriptorFile\ncreateType=\"x\"\ncreateType=\"y\"\nparentFileNameHint=\"../base.vmdk\"\n",
      "# Disk DescriptorFile\nRW 1 SPARSE \"unfinished\nkey\n=\n = \nddb.x = \"\"\n\tchangeTrackPath=\"c\"\n",
  };
  std::vector<Buffer> seeds;
  for (const std::string& text : texts) seeds.emplace_back(text.begin(), text.end());
  return seeds;
}

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

std::vector<Buffer> probe_seeds() {
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
  Buffer dmg(4096);
  test::put_text(dmg, 3584, "koly\0\0\0\4\0\0\2\0"sv);
  seeds.push_back(dmg);
  seeds.push_back(of_qemu({"-o", "cluster_size=512"}));
  seeds.emplace_back();
  return seeds;
}

struct Target {
  std::string_view name;
  std::string_view format;
  std::vector<Buffer> (*seeds)();
};

constexpr std::array kTargets{
    Target{"probe", "raw", probe_seeds},     Target{"qcow2", "qcow2", qcow2_seeds},
    Target{"vmdk", "vmdk", vmdk_seeds},      Target{"vdi", "vdi", vdi_seeds},
    Target{"vhd", "vpc", vhd_seeds},         Target{"vhdx", "vhdx", vhdx_seeds},
    Target{"unpack", "raw", unpack_seeds},   Target{"vmdk_descriptor", "raw", descriptor_seeds},
    Target{"archive", "raw", archive_seeds}, Target{"ovf", "raw", ovf_seeds},
};

}  // namespace

std::vector<Buffer> seeds_for(std::string_view target) {
  for (const Target& row : kTargets) {
    if (row.name == target) return row.seeds();
  }
  return {};
}

std::string_view format_of(std::string_view target) {
  for (const Target& row : kTargets) {
    if (row.name == target) return row.format;
  }
  return {};
}

}  // namespace dvcr::fuzz
