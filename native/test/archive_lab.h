// Archives made with tar itself, and how tests take the disk out of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "archive_source.h"
#include "support.h"

namespace dvcr::test {

inline std::vector<uint8_t> small_disk() {
  return make_disk(300 * 1024 + 512, 5);
}

class Workshop {
 public:
  /// Adds a file to the directory that tar packs.
  std::string add(const std::string& name, Bytes bytes) {
    std::filesystem::create_directories(std::filesystem::path(dir_.path(name)).parent_path());
    write_file(dir_.path(name), bytes);
    return name;
  }
  std::string add(const std::string& name, std::string_view text) {
    return add(name, Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
  std::vector<uint8_t> tar(const std::vector<std::string>& names, const std::string& format = "ustar",
                           const std::vector<std::string>& options = {}) {
    std::vector<std::string> command{"tar", "-C", dir_.path("."), "--format=" + format, "-cf", dir_.path("out.tar")};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), names.begin(), names.end());
    run(command);
    return read_file(dir_.path("out.tar"));
  }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path(name); }

 private:
  TempDir dir_;
};

struct Taken {
  std::vector<uint8_t> bytes;
  std::string member;
  std::vector<std::string> wrappings;
  uint64_t trailing = 0;
  uint64_t size = 0;
  std::string code;
  std::string message;
  bool refused_early = false;  ///< before any byte of the disk was given
};

/// As a web server: a range of no bytes cannot be asked for (RFC 9110, 14.1.1) and would be refused.
class Ranges final : public RangeReader {
 public:
  Ranges(Bytes bytes, unsigned answers) : bytes_(bytes), left_(answers) {}
  [[nodiscard]] bool are_gone() const { return left_ == 0; }
  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }

 private:
  bool fill(uint64_t offset, MutableBytes out) override {
    if (out.empty()) throw Error(code::kSourceIo, "an empty range was asked for");
    if (left_ == 0) return false;
    --left_;
    Bytes from = slice(bytes_, offset, out.size());
    std::copy(from.begin(), from.end(), out.begin());
    return true;
  }
  Bytes bytes_;
  unsigned left_;  // answers until there are none any more
};

struct Origin final : ByteSource {
  Origin(Bytes bytes, size_t chunk, unsigned answers) : stream(bytes, chunk), file(bytes, answers) {}
  Bytes peek() override { return stream.peek(); }
  void consume(size_t count) override { stream.consume(count); }
  [[nodiscard]] std::optional<uint64_t> size() const override { return stream.size(); }
  RangeReader* ranges() override { return file.are_gone() ? nullptr : &file; }
  MemorySource stream;
  Ranges file;
};

inline constexpr unsigned kAlways = std::numeric_limits<unsigned>::max();

/// `answers`: so many ranges are read before the origin offers none any more.
inline Taken take(Bytes tar, size_t chunk = 0, unsigned answers = 0) {
  Origin origin(tar, chunk, answers);
  PrefixSource source(origin);
  source.prefix(512);
  ArchiveSource archive(source, {});
  Taken taken;
  taken.refused_early = true;
  try {
    archive.open();
    taken.refused_early = false;
    taken.member = archive.member();
    taken.wrappings = archive.wrappings();
    taken.size = archive.size().value_or(0);
    for (Bytes part = archive.peek(); !part.empty(); part = archive.peek()) {
      taken.bytes.insert(taken.bytes.end(), part.begin(), part.end());
      archive.consume(part.size());
    }
    archive.finish();
    taken.trailing = archive.trailing();
  } catch (const Error& error) {
    taken.code = error.code();
    taken.message = error.what();
  }
  return taken;
}

inline bool mentions(const Taken& taken, std::string_view text) {
  return taken.message.find(text) != std::string::npos;
}

}  // namespace dvcr::test
