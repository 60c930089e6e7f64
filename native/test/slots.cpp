#include "slots.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "block_images.h"

namespace dvcr::test {

namespace {

constexpr size_t kMostEntries = 4096;
constexpr size_t kSectorSize = 512;

/// Collects slots, leaving out what lies outside of the image.
class Collector {
 public:
  Collector(Bytes image, bool big_endian) : image_(image), big_endian_(big_endian) {}

  [[nodiscard]] uint64_t value(uint64_t offset, unsigned width) const {
    if (offset > image_.size() || image_.size() - offset < width) return 0;
    return big_endian_ ? load_be(image_, offset, width) : load_le(image_, offset, width);
  }
  void fields(uint64_t base, std::initializer_list<std::pair<unsigned, unsigned>> places) {
    for (const auto& [offset, width] : places) add(found.fields, base, offset, width);
  }
  void table(uint64_t start, uint64_t count, unsigned width) {
    for (uint64_t i = 0; i < count && found.entries.size() < kMostEntries; ++i) {
      if (!add(found.entries, start, i * width, width)) return;
    }
  }

  Slots found;

 private:
  bool add(std::vector<Slot>& to, uint64_t base, uint64_t offset, unsigned width) {
    if (base > image_.size() || offset > image_.size() || base + offset + width > image_.size()) return false;
    to.push_back({static_cast<size_t>(base + offset), width, big_endian_});
    return true;
  }

  Bytes image_;
  bool big_endian_;
};

Slots qcow2_slots(Bytes image) {
  Collector at(image, true);
  at.fields(0, {{4, 4},
                {8, 8},
                {20, 4},
                {24, 8},
                {32, 4},
                {36, 4},
                {40, 8},
                {48, 8},
                {56, 4},
                {60, 4},
                {64, 8},
                {72, 8},
                {88, 8},
                {96, 4},
                {100, 4},
                {104, 1}});
  const uint64_t cluster = uint64_t{1} << std::clamp<uint64_t>(at.value(20, 4), 9, 21);
  at.found.step = cluster;
  const uint64_t l1 = at.value(40, 8);
  const uint64_t l1_size = std::min<uint64_t>(at.value(36, 4), 256);
  at.table(l1, l1_size, 8);
  at.table(at.value(48, 8), 8, 8);
  for (uint64_t i = 0; i < l1_size; ++i) {
    const uint64_t l2 = at.value(l1 + i * 8, 8) & 0x00fffffffffffe00;
    if (l2 != 0) at.table(l2, cluster / 8, 8);
  }
  return at.found;
}

void vmdk_header(Collector& at, uint64_t base) {
  at.fields(base,
            {{4, 4}, {8, 4}, {12, 8}, {20, 8}, {28, 8}, {36, 8}, {44, 4}, {48, 8}, {56, 8}, {64, 8}, {72, 1}, {77, 2}});
}

/// Follows the marks of a streamOptimized disk and gives the place of its directory, 0 when there is none.
uint64_t vmdk_markers(Collector& at, Bytes image, uint64_t start) {
  uint64_t directory = 0;
  for (uint64_t sector = start; sector < image.size() / kSectorSize && at.found.entries.size() < kMostEntries;) {
    const uint64_t base = sector * kSectorSize;
    at.table(base, 1, 8);
    at.table(base + 8, 1, 4);
    const uint64_t size = at.value(base + 8, 4);
    if (size != 0) {
      sector += (size + 12 + kSectorSize - 1) / kSectorSize;
      continue;
    }
    at.table(base + 12, 1, 4);
    const uint64_t type = at.value(base + 12, 4);
    if (type == 2) directory = sector + 1;
    if (type == 3) vmdk_header(at, base + kSectorSize);
    sector += 1 + std::min<uint64_t>(at.value(base, 8), type == 0 ? 0 : 64);
  }
  return directory;
}

Slots vmdk_slots(Bytes image) {
  Collector at(image, false);
  vmdk_header(at, 0);
  uint64_t directory = at.value(56, 8);
  const bool stream = directory == UINT64_MAX;
  at.found.step = stream || (at.value(8, 4) & 1u << 16) != 0 ? 1 : std::min<uint64_t>(at.value(20, 8), 4096);
  if (stream) directory = vmdk_markers(at, image, at.value(64, 8));
  for (uint64_t base : {directory, stream ? 0 : at.value(48, 8)}) {
    if (base == 0 || base > image.size() / kSectorSize) continue;
    at.table(base * kSectorSize, 4, 4);
    for (uint64_t i = 0; i < 4; ++i) {
      const uint64_t table = at.value(base * kSectorSize + i * 4, 4);
      if (table != 0) at.table(table * kSectorSize, 512, 4);
    }
  }
  return at.found;
}

Slots vdi_slots(Bytes image) {
  Collector at(image, false);
  at.fields(0, {{0x44, 4},
                {0x48, 4},
                {0x4c, 4},
                {0x154, 4},
                {0x158, 4},
                {0x168, 4},
                {0x170, 8},
                {0x178, 4},
                {0x17c, 4},
                {0x180, 4},
                {0x184, 4},
                {0x1a8, 8},
                {0x1b8, 8}});
  at.table(at.value(0x154, 4), at.value(0x180, 4), 4);
  return at.found;
}

Slots vhd_slots(Bytes image) {
  Collector at(image, true);
  for (uint64_t footer : {uint64_t{0}, image.size() < 512 ? uint64_t{0} : uint64_t{image.size() - 512}}) {
    at.fields(footer, {{8, 4}, {12, 4}, {16, 8}, {28, 4}, {40, 8}, {48, 8}, {56, 2}, {58, 1}, {59, 1}, {60, 4}});
  }
  const uint64_t header = at.value(16, 8);
  at.fields(header, {{8, 8}, {16, 8}, {24, 4}, {28, 4}, {32, 4}});
  at.table(at.value(header + 16, 8), at.value(header + 28, 4), 4);
  at.found.step = std::max<uint64_t>(at.value(header + 32, 4) / kSectorSize, 1);
  return at.found;
}

Slots vhdx_slots(Bytes image) {
  Collector at(image, false);
  for (size_t header : kVhdxHeaders) {
    at.fields(header, {{8, 8}, {48, 8}, {64, 2}, {66, 2}, {68, 4}, {72, 8}});
  }
  for (size_t region : kVhdxRegions) {
    at.fields(region, {{8, 4}, {16, 8}, {32, 8}, {40, 4}, {44, 4}, {48, 8}, {64, 8}, {72, 4}, {76, 4}});
  }
  at.fields(kVhdxMetadata, {{10, 2}});
  for (size_t item = 0; item < 5; ++item) {
    at.fields(kVhdxMetadata + 32 + item * 32, {{0, 8}, {16, 4}, {20, 4}, {24, 4}});
  }
  at.fields(kVhdxItems, {{0, 4}, {4, 4}, {8, 8}, {16, 4}, {20, 4}});
  for (size_t sector = 0; sector < 8; ++sector) {
    const size_t entry = kVhdxLog + sector * 4096;
    at.fields(entry, {{0, 4}, {8, 4}, {12, 4}, {16, 8}, {24, 4}, {48, 8}, {56, 8}, {64, 4}, {72, 8}, {80, 8}, {88, 8}});
  }
  at.table(kVhdxTable, 64, 8);
  at.found.step = uint64_t{1} << 20;
  return at.found;
}

}  // namespace

Slots slots_of(std::string_view format, Bytes image) {
  if (format == "qcow2") return qcow2_slots(image);
  if (format == "vmdk") return vmdk_slots(image);
  if (format == "vdi") return vdi_slots(image);
  if (format == "vpc") return vhd_slots(image);
  if (format == "vhdx") return vhdx_slots(image);
  return {};
}

}  // namespace dvcr::test
