#include "differential.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace dvcr::test {

namespace {

/// Small images are given in pieces down to one byte, large ones in two ways.
std::vector<size_t> chunks_for(size_t size) {
  if (size <= 96 * kKiB) return {1, 511, 4096, 65537, 0};
  if (size <= 4 * kMiB) return {511, 4096, 65537, 0};
  return {65537, 4 * kMiB};
}

/// Runs one shell line for each recipe, as many at a time as there are cores.
void make_all(const TempDir& directory, const std::vector<Recipe>& recipes) {
  std::string lines;
  for (size_t i = 0; i < recipes.size(); ++i) {
    const std::string image = directory.path(std::to_string(i));
    lines += "set -e; set -- " + image + " " + directory.path("source") + "; exec >/dev/null; " + recipes[i].commands +
             "; qemu-img convert -t unsafe -f " + recipes[i].format + " -O raw $1 $1.raw";
    lines += '\0';
  }
  const std::string list = directory.path("commands");
  write_file(list, Bytes(reinterpret_cast<const uint8_t*>(lines.data()), lines.size()));
  run({"xargs", "-0", "-a", list, "-n1", "-P2", "sh", "-c"});
}

void compare(const Recipe& recipe, const std::string& path, Tally& tally) {
  const std::vector<uint8_t> image = read_file(path);
  const std::vector<uint8_t> expected = read_file(path + ".raw");
  ++tally.images;
  for (size_t chunk : chunks_for(image.size())) {
    ConvertOptions options;
    options.chunk = chunk;
    options.known_size = chunk != 4096;
    options.lag = chunk == 511 ? 20 : 0;
    if (recipe.declared) options.open.declared_format = recipe.format;
    const Converted result = convert(image, options);
    ++tally.comparisons;
    ASSERT_EQ(result.message, "") << recipe.name << " in chunks of " << chunk;
    EXPECT_EQ(result.info.format, recipe.format) << recipe.name;
    ASSERT_EQ(result.size, expected.size()) << recipe.name << " in chunks of " << chunk;
    ASSERT_TRUE(result.disk == expected) << recipe.name << " in chunks of " << chunk;
  }
}

}  // namespace

void compare_with_qemu(const std::vector<Recipe>& recipes, const std::vector<uint8_t>& disk, Tally& tally) {
  TempDir directory;
  write_file(directory.path("source"), disk);
  make_all(directory, recipes);
  for (size_t i = 0; i < recipes.size(); ++i) {
    const std::string path = directory.path(std::to_string(i));
    compare(recipes[i], path, tally);
    std::filesystem::remove(path);
    std::filesystem::remove(path + ".raw");
  }
}

}  // namespace dvcr::test
