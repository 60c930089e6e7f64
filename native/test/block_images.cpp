#include "block_images.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "formats/crc32c.h"
#include "formats/vhd_footer.h"

namespace dvcr::test {

namespace {

constexpr size_t kSector = 512;
constexpr size_t kMebibyte = 1 << 20;

Buffer block_of(const Buffer& disk, size_t block, size_t block_size) {
  Buffer out(block_size);
  const size_t from = block * block_size;
  std::copy_n(disk.begin() + static_cast<std::ptrdiff_t>(from), std::min(block_size, disk.size() - from), out.begin());
  return out;
}

/// The blocks to write, in the order of writing.
std::vector<size_t> written_blocks(const Buffer& disk, size_t block_size, Order order, bool all) {
  std::vector<size_t> blocks;
  for (size_t block = 0; block * block_size < disk.size(); ++block) {
    if (all || !is_zero(block_of(disk, block, block_size))) blocks.push_back(block);
  }
  if (order == Order::kReverse) std::reverse(blocks.begin(), blocks.end());
  if (order == Order::kShuffled) std::shuffle(blocks.begin(), blocks.end(), std::mt19937_64(5));
  if (order == Order::kLastFirst && !blocks.empty()) std::rotate(blocks.begin(), blocks.end() - 1, blocks.end());
  return blocks;
}

void append(Buffer& to, const Buffer& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void put_guid(Buffer& bytes, size_t at, std::initializer_list<uint8_t> guid) {
  std::copy(guid.begin(), guid.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

void put_vhdx_item(Buffer& bytes, size_t index, std::initializer_list<uint8_t> guid, uint32_t offset, uint32_t length) {
  const size_t at = kVhdxMetadata + 32 * (index + 1);
  put_guid(bytes, at, guid);
  put_le(bytes, at + 16, 4, offset);
  put_le(bytes, at + 20, 4, length);
  put_le(bytes, at + 24, 4, 4);  // required
}

void put_vhdx_metadata(Buffer& bytes, uint64_t disk_size, const VhdxSpec& spec) {
  put_text(bytes, kVhdxMetadata, "metadata");
  put_le(bytes, kVhdxMetadata + 10, 2, 5);
  constexpr uint32_t kBase = 64 << 10;
  put_vhdx_item(bytes, 0,
                {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}, kBase,
                8);
  put_vhdx_item(bytes, 1,
                {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8},
                kBase + 8, 8);
  put_vhdx_item(bytes, 2,
                {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f},
                kBase + 16, 4);
  put_vhdx_item(bytes, 3,
                {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56},
                kBase + 20, 4);
  put_vhdx_item(bytes, 4,
                {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46},
                kBase + 24, 16);
  put_le(bytes, kVhdxItems, 4, spec.block_size);
  put_le(bytes, kVhdxItems + 8, 8, disk_size);
  put_le(bytes, kVhdxItems + 16, 4, spec.sector_size);
  put_le(bytes, kVhdxItems + 20, 4, 4096);
}

}  // namespace

void put_text(Buffer& bytes, size_t at, std::string_view text) {
  std::copy(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

Buffer patchy_disk(size_t size, size_t block_size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Buffer disk(size);
  for (size_t at = 0; at < size; at += block_size) {
    if (random() % 3 == 0) continue;
    // Half of a block's sectors stay zero, for formats that say so.
    for (size_t sector = at; sector < std::min(at + block_size, size); sector += kSector) {
      if (random() % 2 == 0) continue;
      for (size_t i = sector; i < std::min(sector + kSector, size); ++i) disk[i] = static_cast<uint8_t>(random());
    }
  }
  return disk;
}

Buffer make_vdi(const Buffer& disk, const VdiSpec& spec) {
  const size_t blocks = div_ceil(disk.size(), spec.block_size);
  const size_t data = div_ceil(kVdiMap + blocks * 4, kSector) * kSector;
  const std::vector<size_t> written = written_blocks(disk, spec.block_size, spec.order, spec.fixed);
  Buffer out(data);
  put_text(out, 0, "<<< Oracle VM VirtualBox Disk Image >>>\n");
  put_le(out, 0x40, 4, 0xbeda107f);
  put_le(out, 0x44, 4, 0x00010001);
  put_le(out, 0x48, 4, 0x190);
  put_le(out, 0x4c, 4, spec.fixed ? 2 : 1);
  put_le(out, 0x154, 4, kVdiMap);
  put_le(out, 0x158, 4, data);
  put_le(out, 0x168, 4, kSector);
  put_le(out, 0x170, 8, disk.size());
  put_le(out, 0x178, 4, spec.block_size);
  put_le(out, 0x17c, 4, spec.block_extra);
  put_le(out, 0x180, 4, blocks);
  put_le(out, 0x184, 4, written.size());
  put_text(out, 0x188, "0123456789abcdef");  // the image's own identity
  for (size_t block = 0; block < blocks; ++block) put_le(out, kVdiMap + block * 4, 4, UINT32_MAX);
  for (size_t i = 0; i < written.size(); ++i) {
    put_le(out, kVdiMap + written[i] * 4, 4, i);
    out.insert(out.end(), spec.block_extra, 0xee);
    append(out, block_of(disk, written[i], spec.block_size));
  }
  return out;
}

void seal_vhd_footer(Buffer& bytes, size_t at) {
  put_be(bytes, at + 64, 4, vhd_checksum(Bytes(bytes).subspan(at, 512), 64));
}

void seal_vhd_header(Buffer& bytes, size_t at) {
  put_be(bytes, at + 36, 4, vhd_checksum(Bytes(bytes).subspan(at, 1024), 36));
}

Buffer vhd_footer(uint64_t size, uint32_t type, std::string_view creator) {
  Buffer out(512);
  put_text(out, 0, "conectix");
  put_be(out, 8, 4, 2);
  put_be(out, 12, 4, 0x00010000);
  put_be(out, 16, 8, type == 2 ? UINT64_MAX : kVhdHeader);
  put_text(out, 28, creator);
  put_text(out, 36, "Wi2k");
  put_be(out, 40, 8, size);
  put_be(out, 48, 8, size);
  put_be(out, 56, 2, 2);  // a geometry of 2 * 4 * 17 sectors, smaller than the disk
  out[58] = 4;
  out[59] = 17;
  put_be(out, 60, 4, type);
  seal_vhd_footer(out, 0);
  return out;
}

Buffer make_dynamic_vhd(const Buffer& disk, const VhdSpec& spec) {
  const size_t blocks = div_ceil(disk.size(), spec.block_size);
  const size_t bitmap_size = div_ceil(spec.block_size / kSector, 8 * kSector) * kSector;
  const Buffer footer = vhd_footer(disk.size(), 3, spec.creator);
  Buffer out = footer;
  out.resize(div_ceil(kVhdTable + blocks * 4, kSector) * kSector, 0xff);
  std::fill(out.begin() + kVhdHeader, out.begin() + kVhdTable, uint8_t{0});
  put_text(out, kVhdHeader, "cxsparse");
  put_be(out, kVhdHeader + 8, 8, UINT64_MAX);
  put_be(out, kVhdHeader + 16, 8, kVhdTable);
  put_be(out, kVhdHeader + 24, 4, 0x00010000);
  put_be(out, kVhdHeader + 28, 4, blocks);
  put_be(out, kVhdHeader + 32, 4, spec.block_size);
  seal_vhd_header(out);
  for (size_t block : written_blocks(disk, spec.block_size, spec.order, false)) {
    put_be(out, kVhdTable + block * 4, 4, out.size() / kSector);
    const Buffer data = block_of(disk, block, spec.block_size);
    Buffer bitmap(bitmap_size);
    for (size_t sector = 0; sector < spec.block_size / kSector; ++sector) {
      const bool blank = is_zero(Bytes(data).subspan(sector * kSector, kSector));
      if (!spec.sparse_bitmaps || !blank) bitmap[sector / 8] |= static_cast<uint8_t>(0x80 >> sector % 8);
    }
    append(out, bitmap);
    append(out, data);
  }
  append(out, footer);
  return out;
}

Buffer make_fixed_vhd(const Buffer& disk, std::string_view creator) {
  Buffer out = disk;
  append(out, vhd_footer(disk.size(), 2, creator));
  return out;
}

void seal_crc32c(Buffer& bytes, size_t at, size_t length) {
  put_le(bytes, at + 4, 4, 0);
  Crc32c crc;
  crc.add(Bytes(bytes).subspan(at, length));
  put_le(bytes, at + 4, 4, crc.value());
}

void seal_vhdx_headers(Buffer& bytes) {
  for (size_t at : kVhdxHeaders) seal_crc32c(bytes, at, 4096);
}

void seal_vhdx_regions(Buffer& bytes) {
  for (size_t at : kVhdxRegions) seal_crc32c(bytes, at, 64 << 10);
}

void set_vhdx_headers(Buffer& bytes, size_t at, unsigned width, uint64_t value) {
  for (size_t header : kVhdxHeaders) put_le(bytes, header + at, width, value);
  seal_vhdx_headers(bytes);
}

void set_vhdx_regions(Buffer& bytes, size_t at, unsigned width, uint64_t value) {
  for (size_t table : kVhdxRegions) put_le(bytes, table + at, width, value);
  seal_vhdx_regions(bytes);
}

Buffer make_vhdx(const Buffer& disk, const VhdxSpec& spec) {
  const size_t blocks = div_ceil(disk.size(), spec.block_size);
  const size_t group = (size_t{1} << 23) * spec.sector_size / spec.block_size;
  const size_t entries = blocks + (blocks - 1) / group;
  const size_t table_size = div_ceil(entries * 8, kMebibyte) * kMebibyte;
  Buffer out(kVhdxTable + table_size);
  put_text(out, 0, "vhdxfile");
  put_text(out, 8, std::string_view("M\0S\0", 4));
  for (size_t i = 0; i < 2; ++i) {
    const size_t at = kVhdxHeaders[i];
    put_text(out, at, "head");
    put_le(out, at + 8, 8, spec.twin_headers ? 1 : 7 + i);
    put_text(out, at + 16, "file write guid.");
    put_text(out, at + 32, "data write guid.");
    put_le(out, at + 66, 2, 1);
    put_le(out, at + 68, 4, kMebibyte);
    put_le(out, at + 72, 8, kVhdxLog);
  }
  seal_vhdx_headers(out);
  for (size_t at : kVhdxRegions) {
    put_text(out, at, "regi");
    put_le(out, at + 8, 4, 2);
    put_guid(out, at + 16,
             {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08});
    put_le(out, at + 32, 8, kVhdxTable);
    put_le(out, at + 40, 4, table_size);
    put_le(out, at + 44, 4, 1);
    put_guid(out, at + 48,
             {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e});
    put_le(out, at + 64, 8, kVhdxMetadata);
    put_le(out, at + 72, 4, kMebibyte);
    put_le(out, at + 76, 4, 1);
  }
  seal_vhdx_regions(out);
  put_vhdx_metadata(out, disk.size(), spec);
  for (size_t block : written_blocks(disk, spec.block_size, spec.order, false)) {
    put_le(out, kVhdxTable + (block + block / group) * 8, 8, out.size() | 6);
    append(out, block_of(disk, block, spec.block_size));
  }
  return out;
}

size_t add_log_entry(Buffer& vhdx, size_t at, size_t tail, uint64_t sequence, const std::vector<LogWrite>& writes) {
  constexpr std::string_view kGuid = "guid of this log";
  constexpr size_t kPage = 4096;
  for (size_t header : kVhdxHeaders) put_text(vhdx, header + 48, kGuid);
  seal_vhdx_headers(vhdx);

  Buffer entry(div_ceil(64 + writes.size() * 32, kPage) * kPage);
  put_text(entry, 0, "loge");
  put_le(entry, 12, 4, tail);
  put_le(entry, 16, 8, sequence);
  put_le(entry, 24, 4, writes.size());
  put_text(entry, 32, kGuid);
  put_le(entry, 48, 8, vhdx.size());
  put_le(entry, 56, 8, vhdx.size());
  for (size_t i = 0; i < writes.size(); ++i) {
    const LogWrite& write = writes[i];
    const size_t descriptor = 64 + i * 32;
    put_le(entry, descriptor + 16, 8, write.offset);
    put_le(entry, descriptor + 24, 8, sequence);
    if (write.sector.empty()) {
      put_text(entry, descriptor, "zero");
      put_le(entry, descriptor + 8, 8, write.zeros);
      continue;
    }
    put_text(entry, descriptor, "desc");
    std::copy_n(write.sector.begin(), 8, entry.begin() + static_cast<std::ptrdiff_t>(descriptor) + 8);
    std::copy_n(write.sector.end() - 4, 4, entry.begin() + static_cast<std::ptrdiff_t>(descriptor) + 4);
    Buffer sector = write.sector;
    put_text(sector, 0, "data");
    put_le(sector, 4, 4, sequence >> 32);
    put_le(sector, kPage - 4, 4, sequence & UINT32_MAX);
    append(entry, sector);
  }
  put_le(entry, 8, 4, entry.size());
  seal_crc32c(entry, 0, entry.size());
  for (size_t i = 0; i < entry.size(); ++i) vhdx[kVhdxLog + (at + i) % kMebibyte] = entry[i];
  return (at + entry.size()) % kMebibyte;
}

}  // namespace dvcr::test
