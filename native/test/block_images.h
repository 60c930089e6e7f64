// Makes VDI, VHD and VHDX files as writers make them that are not at hand (VirtualBox, Hyper-V, Disk2vhd), and lets
// tests damage them: every maker takes the disk's content and gives the bytes of a file.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "bytes.h"
#include "support.h"

namespace dvcr::test {

using Buffer = std::vector<uint8_t>;

void put_text(Buffer& bytes, size_t at, std::string_view text);

/// A disk of `size` bytes in which about every third block is zero. The same for the same seed.
Buffer patchy_disk(size_t size, size_t block_size, uint64_t seed);

/// In which order the blocks that hold data are written to the file.
enum class Order { kGuest, kReverse, kShuffled, kLastFirst };

struct VdiSpec {
  uint32_t block_size = 4096;
  uint32_t block_extra = 0;  ///< bytes before the data of each block; filled with 0xee
  bool fixed = false;        ///< all blocks allocated, type 2
  Order order = Order::kGuest;
};
/// Offsets for tests that damage a VDI.
inline constexpr size_t kVdiMap = 512;
Buffer make_vdi(const Buffer& disk, const VdiSpec& spec = {});

struct VhdSpec {
  uint32_t block_size = 4096;
  Order order = Order::kGuest;
  std::string_view creator = "win ";
  bool sparse_bitmaps = false;  ///< bits of zero sectors are not set
};
inline constexpr size_t kVhdHeader = 512;
inline constexpr size_t kVhdTable = 1536;
Buffer make_dynamic_vhd(const Buffer& disk, const VhdSpec& spec = {});
Buffer make_fixed_vhd(const Buffer& disk, std::string_view creator = "win ");
/// A footer of `type` for a disk of `size` bytes, with its checksum.
Buffer vhd_footer(uint64_t size, uint32_t type, std::string_view creator);
/// Makes the checksum of the footer or the dynamic header at `at` right again.
void seal_vhd_footer(Buffer& bytes, size_t at);
void seal_vhd_header(Buffer& bytes, size_t at = kVhdHeader);

struct VhdxSpec {
  uint32_t block_size = 1 << 20;
  uint32_t sector_size = 512;
  Order order = Order::kGuest;
  bool twin_headers = false;  ///< both headers alike, as Disk2vhd writes them
};
inline constexpr size_t kVhdxHeaders[] = {64 << 10, 128 << 10};
inline constexpr size_t kVhdxRegions[] = {192 << 10, 256 << 10};
inline constexpr size_t kVhdxLog = 1 << 20;  ///< 1 MiB long
inline constexpr size_t kVhdxMetadata = 2 << 20;
inline constexpr size_t kVhdxItems = kVhdxMetadata + (64 << 10);  ///< parameters; +8 size; +16 sector size
inline constexpr size_t kVhdxTable = 3 << 20;
inline constexpr size_t kVhdxFirstBlock = 4 << 20;  ///< where the table has 1 MiB
Buffer make_vhdx(const Buffer& disk, const VhdxSpec& spec = {});
/// Makes the CRC-32C of `length` bytes at `at` right again.
void seal_crc32c(Buffer& bytes, size_t at, size_t length);
/// Changes a field of both headers, or of both region tables, and makes the checksums right again.
void set_vhdx_headers(Buffer& bytes, size_t at, unsigned width, uint64_t value);
void set_vhdx_regions(Buffer& bytes, size_t at, unsigned width, uint64_t value);
void seal_vhdx_headers(Buffer& bytes);
void seal_vhdx_regions(Buffer& bytes);

/// One write in a VHDX log: 4 KiB of data, or zeros over `zeros` bytes.
struct LogWrite {
  uint64_t offset = 0;
  Buffer sector{};
  uint64_t zeros = 0;
};
/// Marks the log as in use and puts an entry at `at` of its ring (which may wrap). Returns where it ends.
size_t add_log_entry(Buffer& vhdx, size_t at, size_t tail, uint64_t sequence, const std::vector<LogWrite>& writes);

}  // namespace dvcr::test
