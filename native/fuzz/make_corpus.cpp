// Writes the corpus of one target: each seed under several configurations, and changed in ways that are the same every
// time. Usage: make_corpus TARGET DIRECTORY
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>

#include "corpus.h"
#include "mutator.h"

namespace dvcr::fuzz {
namespace {

/// Changed copies of all seeds together, about.
constexpr size_t kMutants = 1200;

class Writer {
 public:
  Writer(std::string_view target, std::string directory) : target_(target), directory_(std::move(directory)) {}

  void add(const Buffer& image, uint8_t chunks, uint8_t flags) {
    Buffer input = target_ == "vhdx" ? collapse_pages(image) : image;
    // Of texts alone nothing can be configured.
    if (target_ != "vmdk_descriptor" && target_ != "ovf") input.insert(input.begin(), {chunks, flags});
    test::write_file(directory_ + "/" + std::to_string(count_++), input);
  }
  [[nodiscard]] unsigned count() const { return count_; }

 private:
  std::string target_;
  std::string directory_;
  unsigned count_ = 0;
};

unsigned write_corpus(std::string_view target, const std::string& directory) {
  const std::vector<Buffer> seeds = seeds_for(target);
  const std::string_view format = format_of(target);
  const size_t mutants = std::clamp<size_t>(kMutants / std::max<size_t>(seeds.size(), 1), 10, 60);
  Writer writer(target, directory);
  for (const Buffer& seed : seeds) {
    for (int flags : {0x00, 0x03, 0x07, 0x1a, 0x2c, 0x41}) writer.add(seed, 0x60, static_cast<uint8_t>(flags));
    Random random(static_cast<unsigned>(seed.size() + writer.count()));
    for (unsigned i = 0; i < mutants; ++i) {
      Buffer image = seed;
      if (i % 4 == 3) mutate_bytes(image, random);
      mutate_structure(format, image, random);
      if (i % 8 != 7) repair(format, image);
      writer.add(image, static_cast<uint8_t>(0x30 + i % 16), static_cast<uint8_t>(i % 16));
    }
  }
  return writer.count();
}

}  // namespace
}  // namespace dvcr::fuzz

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: make_corpus TARGET DIRECTORY\n", stderr);
    return 2;
  }
  try {
    std::filesystem::create_directories(argv[2]);
    const unsigned count = dvcr::fuzz::write_corpus(argv[1], argv[2]);
    std::printf("%u inputs\n", count);
    return count > 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_corpus: %s\n", error.what());
    return 1;
  }
}
