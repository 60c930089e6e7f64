// streamOptimized VMDK whose tables stand behind the data (gdOffset -1 in the header, as VMware, ovftool and
// VirtualBox write it): read by the grains' own markers, without any table. The tables are compared as they pass.
#pragma once

#include <deque>
#include <memory>
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
  struct OpenTable {
    uint64_t index;
    std::unique_ptr<GrainTable> grains;
  };
  void grain(uint64_t lba);
  void note(uint64_t grain_index);
  void metadata(const VmdkMarker& marker);
  void grain_table(uint64_t sectors);
  void grain_directory(uint64_t sectors);
  void footer(uint64_t sectors);
  void end_of_stream(uint64_t sectors);
  [[noreturn]] void corrupt(const std::string& why) const;

  ImageReader& reader_;
  const VmdkHeader& header_;
  VmdkGrains grains_;
  ZeroRun zeros_;
  uint64_t at_ = 0;                     // host offset of the marker in hand (bytes)
  uint64_t next_ = 0;                   // host offset behind it and what belongs to it (bytes)
  uint64_t frontier_ = 0;               // guest sectors emitted
  std::deque<OpenTable> open_;          // grains whose table has not come yet, in guest order
  std::vector<uint32_t> directory_;     // sectors where the tables stood
  std::vector<uint32_t> empty_tables_;  // sectors of tables without a grain, ascending
  uint64_t directory_sector_ = 0;       // 0: not seen
  bool footer_seen_ = false;
  bool ended_ = false;
};

}  // namespace dvcr
