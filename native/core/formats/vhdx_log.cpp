#include "formats/vhdx_log.h"

#include <algorithm>

#include "formats/crc32c.h"

namespace dvcr {

namespace {

constexpr uint64_t kSector = 4 * kKiB;
constexpr uint64_t kEntryHeader = 64;
constexpr uint64_t kDescriptor = 32;
constexpr size_t kChecksumAt = 4;
/// How many times its own size a log may make us checksum. An honest one needs 2; a hostile one, in which every sector
/// claims to begin an entry as long as the log, would need thousands.
constexpr uint64_t kChecksumRounds = 8;

struct Entry {
  uint64_t offset = 0;  // in the ring
  uint64_t length = 0;
  uint64_t tail = 0;
  uint64_t sequence = 0;
  uint64_t descriptors = 0;
  uint64_t file_size = 0;
  [[nodiscard]] uint64_t data_at() const {
    return div_ceil(kEntryHeader + descriptors * kDescriptor, kSector) * kSector;
  }
};

class Ring {
 public:
  Ring(Bytes log, const Guid& guid) : log_(log), guid_(guid) {}

  [[nodiscard]] uint64_t size() const { return log_.size(); }
  [[nodiscard]] uint64_t wrap(uint64_t offset) const { return offset % log_.size(); }

  /// The bytes at `at` of an entry, which may go on at the start of the ring. They must lie in one sector.
  [[nodiscard]] Bytes part(const Entry& entry, uint64_t at, uint64_t length) const {
    return slice(log_, wrap(entry.offset + at), length);
  }

  /// The valid entry at `offset`, or one of length 0.
  Entry entry_at(uint64_t offset) {
    Entry entry;
    entry.offset = offset;
    Bytes header = slice(log_, offset, kEntryHeader);
    if (!has_magic(header, 0, "loge") || !std::equal(guid_.begin(), guid_.end(), header.begin() + 32)) return {};
    const uint64_t length = le32(header, 8);
    entry.tail = le32(header, 12);
    entry.sequence = le64(header, 16);
    entry.descriptors = le32(header, 24);
    entry.file_size = le64(header, 48);
    if (length == 0 || length % kSector != 0 || length > log_.size() || entry.data_at() > length ||
        entry.sequence == 0 || entry.tail % kSector != 0 || entry.tail >= log_.size()) {
      return {};
    }
    entry.length = length;
    return descriptors_fit(entry) && checksum_fits(entry) ? entry : Entry{};
  }

 private:
  [[nodiscard]] bool descriptors_fit(const Entry& entry) const {
    uint64_t data = entry.data_at();
    for (uint64_t i = 0; i < entry.descriptors; ++i) {
      Bytes descriptor = part(entry, kEntryHeader + i * kDescriptor, kDescriptor);
      if (le64(descriptor, 24) != entry.sequence || le64(descriptor, 16) % kSector != 0) return false;
      if (has_magic(descriptor, 0, "zero")) {
        const uint64_t length = le64(descriptor, 8);
        if (length % kSector != 0 || length > UINT64_MAX - le64(descriptor, 16)) return false;
      } else if (has_magic(descriptor, 0, "desc")) {
        if (data == entry.length || le64(descriptor, 16) > UINT64_MAX - kSector) return false;
        Bytes sector = part(entry, data, kSector);
        const uint64_t sequence = uint64_t{le32(sector, 4)} << 32 | le32(sector, kSector - 4);
        if (!has_magic(sector, 0, "data") || sequence != entry.sequence) return false;
        data += kSector;
      } else {
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] bool checksum_fits(const Entry& entry) {
    checked_ += entry.length;
    if (checked_ > kChecksumRounds * log_.size()) {
      throw Error(code::kDirty, "the VHDX's log of " + std::to_string(log_.size()) + " bytes takes too long to check");
    }
    constexpr uint8_t kBlank[4] = {};
    Crc32c crc;
    crc.add(part(entry, 0, kChecksumAt));
    crc.add(kBlank);
    crc.add(part(entry, kChecksumAt + 4, kSector - kChecksumAt - 4));
    const uint64_t rest = entry.length - kSector;
    const uint64_t start = wrap(entry.offset + kSector);
    const uint64_t before_end = std::min(rest, log_.size() - start);
    crc.add(slice(log_, start, before_end));
    crc.add(slice(log_, 0, rest - before_end));
    return crc.value() == le32(part(entry, kChecksumAt, 4), 0);
  }

  Bytes log_;
  Guid guid_;
  uint64_t checked_ = 0;
};

/// The entries that follow each other from `offset` on; none when there is no valid one.
std::vector<Entry> chain_from(Ring& ring, uint64_t offset) {
  std::vector<Entry> chain;
  uint64_t length = 0;
  for (;;) {
    const Entry entry = ring.entry_at(ring.wrap(offset + length));
    length += entry.length;
    if (entry.length == 0 || length > ring.size()) break;
    if (!chain.empty() && entry.sequence != chain.back().sequence + 1) break;
    chain.push_back(entry);
    if (length == ring.size()) break;
  }
  return chain;
}

/// From the tail that the newest entry names to that entry; none when the chain does not reach back so far.
std::vector<Entry> active_part(std::vector<Entry> chain) {
  const auto tail =
      std::find_if(chain.begin(), chain.end(), [&](const Entry& entry) { return entry.offset == chain.back().tail; });
  chain.erase(chain.begin(), tail);
  return chain;
}

std::vector<Entry> find_active_sequence(Ring& ring) {
  std::vector<Entry> best;
  for (uint64_t offset = 0; offset < ring.size();) {
    std::vector<Entry> chain = chain_from(ring, offset);
    if (chain.empty()) {
      offset += kSector;
      continue;
    }
    // A part of this chain ends with the same entry, so it can be no better.
    for (const Entry& entry : chain) offset += entry.length;
    chain = active_part(std::move(chain));
    if (!chain.empty() && (best.empty() || chain.back().sequence > best.back().sequence)) best = std::move(chain);
  }
  return best;
}

void replay_entry(const Ring& ring, const Entry& entry, VhdxOverlay& overlay) {
  uint64_t data = entry.data_at();
  for (uint64_t i = 0; i < entry.descriptors; ++i) {
    Bytes descriptor = ring.part(entry, kEntryHeader + i * kDescriptor, kDescriptor);
    const uint64_t offset = le64(descriptor, 16);
    if (has_magic(descriptor, 0, "zero")) {
      overlay.write(offset, le64(descriptor, 8), {});
      continue;
    }
    // A data sector's first eight and last four bytes stand in its descriptor.
    Bytes stored = ring.part(entry, data, kSector);
    std::vector<uint8_t> sector(stored.begin(), stored.end());
    std::copy_n(descriptor.begin() + 8, 8, sector.begin());
    std::copy_n(descriptor.begin() + 4, 4, sector.end() - 4);
    overlay.write(offset, kSector, std::move(sector));
    data += kSector;
  }
}

}  // namespace

void VhdxOverlay::clear(uint64_t start, uint64_t end) {
  auto it = patches_.upper_bound(start);
  if (it != patches_.begin()) --it;
  while (it != patches_.end() && it->first < end) {
    const uint64_t patch_end = it->second.end;
    if (patch_end <= start) {
      ++it;
      continue;
    }
    // Only zeros can be longer than a sector, so only they are ever cut.
    if (patch_end > end) patches_[end] = {patch_end, {}};
    if (it->first < start) {
      it->second.end = start;
      ++it;
    } else {
      it = patches_.erase(it);
    }
  }
}

void VhdxOverlay::write(uint64_t offset, uint64_t length, std::vector<uint8_t> sector) {
  if (length == 0) return;
  clear(offset, offset + length);
  patches_[offset] = {offset + length, std::move(sector)};
}

void VhdxOverlay::apply(uint64_t host_offset, MutableBytes bytes) const {
  const uint64_t end = host_offset + bytes.size();
  auto it = patches_.upper_bound(host_offset);
  if (it != patches_.begin()) --it;
  for (; it != patches_.end() && it->first < end; ++it) {
    const uint64_t from = std::max(it->first, host_offset);
    const uint64_t to = std::min(it->second.end, end);
    if (from >= to) continue;
    MutableBytes part = bytes.subspan(static_cast<size_t>(from - host_offset), static_cast<size_t>(to - from));
    if (it->second.sector.empty()) {
      std::fill(part.begin(), part.end(), uint8_t{0});
    } else {
      std::copy_n(it->second.sector.begin() + static_cast<std::ptrdiff_t>(from - it->first), part.size(), part.begin());
    }
  }
}

VhdxReplay replay_vhdx_log(Bytes log, const Guid& guid, uint64_t max_memory) {
  // What a patch takes in memory besides its sector.
  constexpr uint64_t kPatchOverhead = 128;
  Ring ring(log, guid);
  const std::vector<Entry> sequence = find_active_sequence(ring);
  if (sequence.empty()) {
    throw Error(code::kDirty,
                "the VHDX's log of " + std::to_string(log.size()) + " bytes is in use but holds no valid sequence");
  }
  VhdxReplay out;
  for (const Entry& entry : sequence) {
    replay_entry(ring, entry, out.overlay);
    if (log.size() + out.overlay.patches() * kPatchOverhead > max_memory) {
      throw Error(code::kMetadataLimit,
                  "the VHDX's log changes " + std::to_string(out.overlay.patches()) + " places, too many to hold");
    }
  }
  out.entries = sequence.size();
  out.file_size = sequence.back().file_size;
  return out;
}

}  // namespace dvcr
