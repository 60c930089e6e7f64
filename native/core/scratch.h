// Unlinked temporary files with one common byte limit per import.
#pragma once

#include <atomic>
#include <bitset>
#include <memory>
#include <string>
#include <unordered_map>

#include "bytes.h"

namespace dvcr {

/// Counts the bytes in all scratch files of one import. Thread-safe.
class ScratchBudget {
 public:
  explicit ScratchBudget(uint64_t limit) : limit_(limit) {}
  /// Books `bytes`; throws kScratchLimit when the limit would be passed.
  void take(uint64_t bytes);
  void give_back(uint64_t bytes);
  /// Largest number of bytes held at once so far: the report's `scratchPeak`.
  [[nodiscard]] uint64_t peak() const { return peak_.load(); }
  [[nodiscard]] uint64_t used() const { return used_.load(); }

 private:
  uint64_t limit_;
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> peak_{0};
};

/// A sparse file without a name (O_TMPFILE, else created 0600 and unlinked at once), made on the first write.
/// Not thread-safe.
class ScratchFile {
 public:
  /// `directory` is where the file is made; nothing touches the disk before the first write.
  ScratchFile(std::string directory, ScratchBudget& budget);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  /// Writes at `offset`; books what is new. Throws kScratchLimit, kScratchIo (disk full included).
  void write_at(uint64_t offset, Bytes bytes);
  /// Fills `out`; what was never written or was released reads as zeros. Throws kScratchIo.
  void read_at(uint64_t offset, MutableBytes out) const;
  /// Gives the whole pages inside [offset, offset+length) back to the file system and the budget. Where the file
  /// system cannot punch holes they stay booked until the file is closed.
  void release(uint64_t offset, uint64_t length);

  /// What the file system allocates at a time, and so what is booked (bytes).
  static constexpr uint64_t kPage = 4096;

 private:
  static constexpr uint64_t kPagesPerGroup = 64;  // small, so that pages scattered over terabytes cost little
  void open_file();
  void book(uint64_t offset, uint64_t length);

  std::string directory_;
  ScratchBudget& budget_;
  int fd_ = -1;
  bool can_punch_ = true;
  uint64_t booked_ = 0;
  // Which pages are booked, so that rewriting one costs nothing; groups without any are dropped.
  std::unordered_map<uint64_t, std::bitset<kPagesPerGroup>> pages_;
};

}  // namespace dvcr
