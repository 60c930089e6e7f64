// The body of a layer (its frames between tar head and tail) kept in scratch while the disk's length is not certain.
// Zero runs are kept as their length. The file describes itself, so nothing in memory grows with the disk.
#pragma once

#include <optional>

#include "../scratch.h"
#include "buffer.h"

namespace dvcr {

class KeptLayer {
 public:
  KeptLayer(std::string directory, ScratchBudget& budget) : file_(std::move(directory), budget) {}

  /// Adds a frame that decodes to `raw_size` bytes. These three throw kScratchLimit and kScratchIo.
  void frame(Bytes packed, size_t raw_size);
  void zeros(uint64_t length) { pending_zeros_ += length; }
  /// Ends writing.
  void seal();

  /// What next() found: either a run of zeros or a frame.
  struct Record {
    uint64_t zeros;   ///< length of the run in bytes; 0: a frame
    size_t packed;    ///< bytes of the frame, which read() must take next
    size_t raw_size;  ///< bytes it decodes to
  };
  /// The next record in order, nothing at the end. Throws kScratchIo.
  std::optional<Record> next();
  /// Fills `out` with the frame that next() announced.
  void read(MutableBytes out);

 private:
  void put(Bytes bytes);
  void write_out();
  void put_record(uint64_t first, uint64_t second);
  void write_pending_zeros();

  ScratchFile file_;
  Buffer buffer_;            // bytes waiting to be written, later bytes read ahead
  uint64_t written_ = 0;     // bytes in the file
  uint64_t read_ = 0;        // bytes taken from the file into buffer_
  size_t buffer_taken_ = 0;  // bytes of buffer_ already handed out
  uint64_t pending_zeros_ = 0;
};

}  // namespace dvcr
