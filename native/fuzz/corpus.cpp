#include "corpus.h"

#include <algorithm>
#include <array>
#include <functional>

#include "archive_corpus.h"
#include "block_images.h"
#include "probe_corpus.h"
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

/// An image with bitmaps, and the same with a directory that is wrong in one place each.
std::vector<Buffer> with_bitmaps(const Buffer& image) {
  // The first header extension that qemu-img writes is that of the bitmaps (qemu's docs/interop/qcow2.txt).
  constexpr size_t kType = 104;
  constexpr uint32_t kBitmaps = 0x23852875;
  size_t at = kType;
  while (be32(image, at) != kBitmaps) at += 8 + (be32(image, at + 4) + 7) / 8 * 8;
  const uint64_t directory = be64(image, at + 24);
  std::vector<Buffer> seeds(6, image);
  test::put_be(seeds[1], at + 24, 8, image.size());   // the directory is not within the file
  test::put_be(seeds[2], directory + 17, 1, 32);      // a granularity beyond 2 GiB
  test::put_be(seeds[3], directory + 18, 2, 0xffff);  // a name beyond the directory
  test::put_be(seeds[4], directory + 12, 4, 3);       // in use, and kept up by itself
  test::put_be(seeds[5], at, 4, 0x6803f857);          // a second list of features
  return seeds;
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
  const std::string marked = directory.path("marked");
  test::write_file(marked, of_qemu({"-o", "cluster_size=4k"}));
  run({"qemu-img", "bitmap", "--add", "-g", "64k", marked, "nightly"});
  run({"qemu-img", "bitmap", "--add", "--disable", marked, "old"});
  for (Buffer& seed : with_bitmaps(test::read_file(marked))) seeds.push_back(std::move(seed));
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

std::vector<Buffer> probe_seeds() {
  std::vector<Buffer> seeds = first_bytes_seeds();
  seeds.push_back(of_qemu({"-o", "cluster_size=512"}));
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
