// The memory that the imports of one process share.
#pragma once

#include <atomic>

namespace dvcr {

/// Counts the windows in flight of all imports that hold it. Few imports have all that they can use; of many each has
/// the least that keeps it going, so that memory grows slowly with their number. Any thread.
class ImportMemory {
 public:
  /// A window in flight takes 2 MiB (its content, and its packed form), 3 at worst.
  static constexpr unsigned kMostWindows = 8;
  static constexpr unsigned kLeastWindows = 3;

  /// `full_imports` of them at once have all the windows that they can use.
  explicit ImportMemory(unsigned full_imports);
  ImportMemory(const ImportMemory&) = delete;
  ImportMemory& operator=(const ImportMemory&) = delete;

  /// Whether an import that has its least already may make one more.
  [[nodiscard]] bool allows_another() const { return windows_ < most_; }
  /// Whether an import that has more than the least should part with one.
  [[nodiscard]] bool is_exceeded() const { return windows_ > most_; }
  void take() { ++windows_; }
  void give_back(unsigned windows) { windows_ -= windows; }

 private:
  const unsigned most_;
  std::atomic<unsigned> windows_ = 0;
};

}  // namespace dvcr
