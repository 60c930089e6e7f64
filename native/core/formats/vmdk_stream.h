// streamOptimized VMDK whose tables stand behind the data (gdOffset -1 in the header, as VMware, ovftool, VirtualBox
// and Xen Orchestra write it): read by the grains' own markers, without any table. The specification orders metadata no
// further than that each piece has its marker in front, so tables may follow their grains or come all together, twice
// (redundant ones), and before or behind their directory. All is compared once the footer has told which directory
// counts.
#pragma once

#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "vmdk_grain.h"
#include "vmdk_tables.h"

namespace dvcr {

class VmdkStream {
 public:
  VmdkStream(ImageReader& reader, const VmdkHeader& header, ExtentSink& sink)
      : reader_(reader), header_(header), grains_(reader, header, sink), zeros_(sink) {}

  /// Emits the whole disk and reads the file to its end. Throws kOutOfOrder (grains that do not ascend), kAlias (a
  /// grain given twice), kCorruptImage (markers, tables, directory or footer that contradict the grains), kTruncated,
  /// kTrailingData, kMetadataLimit.
  void run();

 private:
  /// Half of a SHA-256: a table is not kept to compare it with what its grains told.
  using TableDigest = std::array<char, 32>;
  static TableDigest digest_of(const GrainTable& table);

  void grain(uint64_t lba);
  void note(uint64_t grain_index);
  void close_table();
  void metadata(const VmdkMarker& marker);
  void grain_tables(uint64_t sectors);
  void take_table(Bytes raw, uint64_t sector);
  void grain_directory(uint64_t sectors);
  void footer(uint64_t sectors);
  void compare_directory(uint64_t sector) const;
  void end_of_stream(uint64_t sectors);
  void book(uint64_t bytes);
  [[noreturn]] void corrupt(const std::string& why) const;

  ImageReader& reader_;
  const VmdkHeader& header_;
  VmdkGrains grains_;
  ZeroRun zeros_;
  uint64_t at_ = 0;        // host offset of the marker in hand (bytes)
  uint64_t next_ = 0;      // host offset behind it and what belongs to it (bytes)
  uint64_t frontier_ = 0;  // guest sectors emitted
  uint64_t booked_ = 0;    // bytes of memory for what follows

  GrainTable open_{};        // grains of the table that the last one belongs to
  uint64_t open_index_ = 0;  // of that table
  bool is_open_ = false;
  std::unordered_map<uint64_t, TableDigest> expected_;     // by index, of tables with a grain
  std::unordered_map<uint32_t, TableDigest> tables_;       // by the sector where they stood
  std::map<uint64_t, std::vector<uint32_t>> directories_;  // by the sector where they stood
  bool footer_seen_ = false;
  bool ended_ = false;
};

}  // namespace dvcr
