#include "vmdk_lookahead.h"

#include <algorithm>
#include <array>
#include <vector>

#include "vmdk_grain.h"

namespace dvcr {
namespace {

constexpr uint64_t kTail = 3 * kSector;  // footer marker, footer, end marker
// Each table costs one request. Beyond this many (8 GiB of disk with grains of 64 KiB) only a directory out of order
// is worth them: no known tool writes grains out of order in this flavour at all.
constexpr size_t kMaxTables = 256;

std::optional<VmdkHeader> read_footer(RangeReader& file) {
  uint64_t size = file.size();
  if (size < kTail || size % kSector != 0) return std::nullopt;
  std::array<uint8_t, kTail> tail;
  if (!file.read_at(size - kTail, tail)) return std::nullopt;
  bool framed = le32(tail, 8) == 0 && le32(tail, 12) == static_cast<uint32_t>(MarkerType::kFooter) &&
                is_vmdk_sparse(slice(tail, kSector, kSector)) && is_zero(slice(tail, 2 * kSector, kSector));
  if (!framed) return std::nullopt;
  return parse_vmdk_header(slice(tail, kSector, kSector));
}

// The little-endian words at `sector`; nothing when they are not inside the file or can no longer be asked for.
std::optional<std::vector<uint32_t>> read_words(RangeReader& file, uint64_t sector, uint64_t count) {
  uint64_t size = file.size();
  if (sector > size / kSector || count > (size - sector * kSector) / 4) return std::nullopt;
  std::vector<uint8_t> raw(static_cast<size_t>(count * 4));
  if (!file.read_at(sector * kSector, raw)) return std::nullopt;
  std::vector<uint32_t> words(static_cast<size_t>(count));
  for (size_t i = 0; i < words.size(); ++i) words[i] = le32(raw, i * 4);
  return words;
}

bool ascend(std::span<const uint32_t> entries, bool zero_grains, uint32_t& last) {
  for (uint32_t entry : entries) {
    if (entry == 0 || (zero_grains && entry == kZeroGrain)) continue;
    if (entry <= last) return false;
    last = entry;
  }
  return true;
}

}  // namespace

std::optional<VmdkHeader> out_of_order_footer(RangeReader& file, const VmdkHeader& header, const Limits& limits) {
  std::optional<VmdkHeader> footer = read_footer(file);
  if (!footer) return std::nullopt;
  // Grains that would start behind the end: the stream says what is missing, in whatever order it is.
  if (header.overhead > file.size() / kSector) return std::nullopt;
  check_vmdk_footer(header, *footer, limits);
  if (footer->tables() * 8 > limits.max_metadata) return std::nullopt;
  std::optional<std::vector<uint32_t>> directory = read_words(file, footer->gd_offset, footer->tables());
  if (!directory) return std::nullopt;
  uint32_t last = 0;
  if (!ascend(*directory, false, last)) return footer;
  auto used = directory->size() - static_cast<size_t>(std::count(directory->begin(), directory->end(), 0u));
  if (used > kMaxTables) return std::nullopt;
  last = 0;
  uint64_t grains = div_ceil(footer->capacity, footer->grain_sectors);
  for (size_t index = 0; index < directory->size(); ++index, grains -= std::min(grains, kGrainsPerTable)) {
    if ((*directory)[index] == 0) continue;
    uint64_t entries = std::min(grains, kGrainsPerTable);
    std::optional<std::vector<uint32_t>> table = read_words(file, (*directory)[index], entries);
    if (!table) return std::nullopt;
    if (!ascend(*table, footer->has_zero_grains(), last)) return footer;
  }
  return std::nullopt;
}

}  // namespace dvcr
