// How many threads compute at the same time, over all imports of a process.
#pragma once

namespace dvcr {

/// A thread's turn to compute, from construction to destruction; waits for it, first come, first served. Hold none
/// while waiting for anything else, nor two: those who could end the wait may be waiting for a turn.
///
/// For a process that answers people while it converts. A hundred threads that are ready weigh more than one event loop
/// even at the lowest priority, and one that lost its core while it holds a mutex gets it back after all the others.
class CpuTurn {
 public:
  CpuTurn();
  ~CpuTurn();
  CpuTurn(const CpuTurn&) = delete;
  CpuTurn& operator=(const CpuTurn&) = delete;

  /// At most `turns` at the same time; 0, as at the start: any number, and nobody waits. Holds for turns asked for
  /// from now on.
  static void limit(unsigned turns);

 private:
  bool counted_;
};

}  // namespace dvcr
