// Bytes of a stream that passed before anyone wanted them, by their offset in the stream: in memory up to a window,
// then in a scratch file at the same offset. Zeros cost nothing.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_map>

#include "bytes.h"
#include "scratch.h"

namespace dvcr {

class HeldBytes {
 public:
  /// `window` is how many bytes may be held in memory, `max_index` bounds the list of what is in scratch (bytes).
  HeldBytes(uint64_t window, uint64_t max_index, ScratchBudget& budget, std::string scratch_directory);

  /// Holds `bytes` of `offset`. Throws kScratchLimit, kScratchIo, kMetadataLimit when what is in scratch lies too far
  /// apart to be listed.
  void store(uint64_t offset, Bytes bytes);
  /// Fills `out` with what is held at `offset`, zeros elsewhere, and lets each sector go whose end was reached.
  void take(uint64_t offset, MutableBytes out);

  /// The unit of holding in scratch and of looking up (bytes).
  static constexpr uint64_t kPage = ScratchFile::kPage;
  /// What the list of so many bytes in scratch takes where they stand close together (bytes).
  static constexpr uint64_t index_bytes(uint64_t in_scratch) {
    return in_scratch / (kPagesPerGroup * kPage) * kGroupBytes;
  }
  /// The unit of holding in memory and of letting go: small clusters would else pin a page each.
  static constexpr uint64_t kSector = 512;

 private:
  static constexpr uint64_t kPagesPerGroup = 16;
  /// What a group takes here and in the scratch file's own list, with hash nodes and allocations (bytes).
  static constexpr uint64_t kGroupBytes = 128;
  /// Sectors of one page, packed one after the other.
  struct MemoryPage {
    uint8_t stored = 0;  // bit per sector that has room in `data`
    uint8_t live = 0;    // those still wanted
    std::unique_ptr<uint8_t[]> data;
    [[nodiscard]] uint8_t* sector(unsigned index) const;
  };
  using ScratchGroup = std::array<uint8_t, kPagesPerGroup>;  // bit per sector still wanted, a byte per page

  void store_page(uint64_t page, uint64_t within, Bytes bytes, uint8_t sectors);
  void grow(MemoryPage& held, uint8_t sectors);
  [[nodiscard]] uint8_t scratch_sectors(uint64_t page) const;
  void mark_scratch(uint64_t page, uint8_t sectors);
  void take_memory(std::unordered_map<uint64_t, MemoryPage>::iterator held, uint64_t within, MutableBytes out);
  void take_scratch(uint64_t offset, MutableBytes out);

  uint64_t window_;
  uint64_t max_index_;
  uint64_t in_memory_ = 0;
  ScratchFile scratch_;
  std::unordered_map<uint64_t, MemoryPage> memory_;          // by page
  std::unordered_map<uint64_t, ScratchGroup> scratch_live_;  // by group of pages
};

}  // namespace dvcr
