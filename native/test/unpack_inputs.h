// Compressed inputs for the unpacking tests, made by the libraries' own encoders and by the usual tools.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "support.h"
#include "unpack/unpack.h"

namespace dvcr::test {

using Buffer = std::vector<uint8_t>;

/// Repeatable bytes that compress about two to one, with runs of zeros.
Buffer sample_content(size_t size, unsigned seed = 1);

Buffer gzip_member(Bytes content);
Buffer xz_stream(Bytes content, uint32_t dictionary = 1 << 20);
/// Blocks of `block_size` with their sizes in the headers, as threaded xz writes them.
Buffer xz_blocks(Bytes content, uint64_t block_size);
Buffer zstd_frame(Bytes content, int window_log = 0, bool content_size = true);
Buffer zstd_skippable(size_t size);
Buffer bzip2_stream(Bytes content);
/// One chunk of snappy's framing format with the checksum of `plain`; `body` is what the chunk holds of it.
Buffer snappy_chunk(uint8_t type, Bytes plain, Bytes body);
/// The stream identifier and compressed chunks of 64 KiB.
Buffer snappy_frames(Bytes content);
/// One stream of any format.
Buffer packed(Compression compression, Bytes content);

/// What `command` writes to its output when it is fed `input`. Throws std::runtime_error when it fails or is absent.
Buffer run_tool(const std::string& command, Bytes input);

Buffer joined(std::initializer_list<Buffer> parts);

/// The bytes delivered, and the code of the error that ended them (empty: none).
struct Unpacked {
  Buffer content;
  std::string code;
  std::string message;
  bool operator==(const Unpacked& other) const { return content == other.content && code == other.code; }
};

/// Unpacks `input`, offered `chunk` bytes at a time (0: all), one layer of `compression`. `read_size` 0 takes what
/// peek() offers, else read() is asked for that many bytes.
Unpacked unpack(Compression compression, Bytes input, size_t chunk = 0, size_t read_size = 0, unsigned threads = 1,
                const Limits& limits = {});

/// Bytes in memory with random access, as a file has it.
class FileInMemory final : public ByteSource {
 public:
  explicit FileInMemory(Bytes bytes) : stream_(bytes), ranges_(bytes) {}
  Bytes peek() override { return stream_.peek(); }
  void consume(size_t count) override { stream_.consume(count); }
  [[nodiscard]] std::optional<uint64_t> size() const override { return stream_.size(); }
  RangeReader* ranges() override { return &ranges_; }

 private:
  MemorySource stream_;
  MemoryRanges ranges_;
};

}  // namespace dvcr::test
