#include "xz_index.h"

#include <lzma.h>

#include <algorithm>

namespace dvcr {
namespace {

constexpr uint64_t kIndexMemory = 16 * kMiB;  // records of half a million blocks, 12 TiB made by `xz -6`
constexpr size_t kReadSize = 32 * kKiB;
constexpr unsigned kMaxReads = 256;  // each may be a request to a server

struct FileInfo {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_index* index = nullptr;
  FileInfo() = default;
  FileInfo(const FileInfo&) = delete;
  FileInfo& operator=(const FileInfo&) = delete;
  ~FileInfo() {
    lzma_end(&stream);
    lzma_index_end(index, nullptr);
  }
};

}  // namespace

std::optional<uint64_t> xz_indexed_size(RangeReader& file, const Limits& limits) {
  FileInfo info;
  uint64_t memory = std::min(kIndexMemory, limits.max_metadata);
  if (lzma_file_info_decoder(&info.stream, &info.index, memory, file.size()) != LZMA_OK) return std::nullopt;
  std::vector<uint8_t> buffer(kReadSize);
  uint64_t position = 0;
  unsigned reads = 0;
  while (true) {
    if (info.stream.avail_in == 0) {
      size_t size = static_cast<size_t>(std::min<uint64_t>(buffer.size(), file.size() - position));
      if (size == 0 || ++reads > kMaxReads) return std::nullopt;
      if (!file.read_at(position, MutableBytes(buffer).first(size))) return std::nullopt;
      position += size;
      info.stream.next_in = buffer.data();
      info.stream.avail_in = size;
    }
    lzma_ret status = lzma_code(&info.stream, LZMA_RUN);
    if (status == LZMA_SEEK_NEEDED) {
      position = info.stream.seek_pos;
      info.stream.avail_in = 0;
      if (position > file.size()) return std::nullopt;
    } else if (status == LZMA_STREAM_END) {
      return lzma_index_uncompressed_size(info.index);
    } else if (status != LZMA_OK) {
      return std::nullopt;
    }
  }
}

}  // namespace dvcr
