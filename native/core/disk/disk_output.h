// Where the content of a disk is written: a file, a device, a pipe, a qcow2 file. Below the DiskSink, which cuts the
// disk into windows, finds its zeros and calls from several threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../bytes.h"

namespace dvcr {

/// What offsets and lengths of written data are multiples of, but for the disk's last piece, and what buffers are
/// aligned to: the largest sector there is (bytes).
inline constexpr size_t kDiskAlign = 4096;

/// Zeros that are left out are whole blocks of this many bytes, as with `qemu-img convert -S 4k`.
inline constexpr size_t kDiskHole = 4096;

/// One cluster of a disk that is packed before it is written; nothing for outputs that take the bytes as they are.
struct PackedCluster {
  uint64_t offset = 0;          ///< of its content on the disk (bytes)
  std::vector<uint8_t> packed;  ///< empty: does not shrink
};

class DiskOutput {
 public:
  virtual ~DiskOutput() = default;
  /// True where write() and zeros() must come in the disk's order, from one thread.
  [[nodiscard]] virtual bool in_order() const = 0;
  /// Smallest run of zeros that is worth leaving out, a multiple of kDiskHole (bytes); 0: none, zeros are written too.
  [[nodiscard]] virtual uint64_t hole() const { return kDiskHole; }
  /// Once, before anything else; `size` in bytes where it is known. Throws kDiskTooSmall, kDiskIo.
  virtual void begin(std::optional<uint64_t> size) = 0;
  /// Packs the disk's bytes at an offset, which write() will be given; from any thread, before it.
  virtual std::vector<PackedCluster> pack(uint64_t, Bytes) { return {}; }
  /// `bytes` of the disk at `offset`, both multiples of kDiskAlign but for the end of the disk's last piece, where the
  /// buffer has zeros up to the next multiple. Throws kDiskIo, kDiskFull, kDiskTooSmall, kCancelled.
  virtual void write(uint64_t offset, Bytes bytes, const std::vector<PackedCluster>& packed) = 0;
  /// Zeros at `offset`, a multiple of kDiskHole as is `length` but for the disk's end.
  virtual void zeros(uint64_t offset, uint64_t length) = 0;
  /// The disk has `size` bytes, all written. Returns when it is stored durably. One thread.
  virtual void finish(uint64_t size) = 0;
  /// Bytes of the medium that a disk of `size` bytes ends up with: zeros follow it.
  [[nodiscard]] virtual uint64_t stored_size(uint64_t size) const { return size; }
  /// After finish(): reads the disk back from its medium. Throws kDiskReadBack where its first `size` bytes do not have
  /// the sum `sha256`, kDiskIo, kCancelled; kInternal where nothing can be read back.
  virtual void verify(uint64_t size, const std::string& sha256);
  /// Ends waiting calls with kCancelled. Any thread.
  virtual void cancel() {}
  /// Bytes handed to the system so far. Any thread.
  [[nodiscard]] virtual uint64_t written() const = 0;
  /// One-line notes for the report.
  [[nodiscard]] virtual std::vector<std::string> warnings() const { return {}; }
};

/// A regular file that is empty, with holes where the disk has zeros; `virtual_size` (bytes): the least length it gets.
std::unique_ptr<DiskOutput> make_file_output(int fd, uint64_t virtual_size);
/// A pipe or anything else that takes bytes in order. Where its reader may be slow the descriptor should not block.
std::unique_ptr<DiskOutput> make_pipe_output(int fd, uint64_t virtual_size);

enum class Qcow2Compression : uint8_t { kNone, kZlib, kZstd };
/// An empty regular file that becomes a qcow2 image of at least `virtual_size` bytes.
/// `verified`: verify() will be called.
std::unique_ptr<DiskOutput> make_qcow2_output(int fd, uint64_t virtual_size, Qcow2Compression compression,
                                              bool verified = false);

}  // namespace dvcr
