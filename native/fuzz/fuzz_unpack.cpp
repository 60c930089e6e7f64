// Outer compression: gzip, xz, zstd and bzip2 around anything, nested as deep as allowed.
#include "harness.h"
#include "unpack/unpack.h"

namespace dvcr::fuzz {
namespace {

/// No more than this is unpacked: a bomb is stopped by what follows in the product, not by its decoder.
constexpr size_t kMostUnpacked = 2 * kMiB;

struct Unpacked {
  Buffer content;
  test::Converted end;
  std::vector<Compression> compressions;
};

Unpacked unpack(Bytes input, size_t chunk, const Limits& limits, unsigned threads) {
  MemorySource source(input, chunk);
  Unpacked result;
  result.content = test::spare_buffer();
  result.end = test::caught([&] {
    UnpackChain chain(source, limits, threads);
    result.compressions = chain.compressions();
    PrefixSource& output = chain.output();
    result.content.resize(kMostUnpacked);
    size_t done = 0;
    try {
      for (Bytes next = output.peek(); !next.empty() && done < kMostUnpacked; next = output.peek()) {
        const size_t take = std::min(next.size(), kMostUnpacked - done);
        std::copy_n(next.begin(), take, result.content.begin() + static_cast<std::ptrdiff_t>(done));
        output.consume(take);
        done += take;
      }
      result.content.resize(done);
      if (done < kMostUnpacked) chain.finish();
    } catch (const Error&) {
      result.content.resize(done);
      throw;
    }
  });
  return result;
}

void check_unpack(Bytes input) {
  if (input.size() < kConfigSize) return;
  const Setup setup = setup_of("", input, input.subspan(kConfigSize));
  const unsigned threads = setup.options.known_size ? 2 : 1;
  Unpacked one = unpack(setup.image, setup.options.chunk, setup.options.limits, threads);
  Unpacked two = unpack(setup.image, setup.other_chunk, setup.options.limits, threads);
  // How much of a damaged stream is given before the damage is met may differ, but not what.
  const size_t common = std::min(one.content.size(), two.content.size());
  require(
      std::equal(one.content.begin(), one.content.begin() + static_cast<std::ptrdiff_t>(common), two.content.begin()),
      "chunks do not change the content");
  if (std::max(one.content.size(), two.content.size()) < kMostUnpacked) {
    const std::string codes = one.end.code + " " + two.end.code;
    require(one.end.code.empty() == two.end.code.empty(), "chunks do not change what is accepted", codes);
    // A threaded decoder reads ahead, and so may meet the damage of the layer around it before its own.
    require(threads > 1 || one.end.code == two.end.code, "chunks do not change the code", codes);
    if (one.end.code.empty()) require(one.content.size() == two.content.size(), "chunks do not change the length");
  }
  if (one.end.code.empty() && two.end.code.empty()) {
    require(one.compressions == two.compressions, "chunks do not change what is recognised");
  }
  require(one.compressions.size() <= setup.options.limits.max_compression_depth, "the depth is bounded");
  if (one.end.code.empty() && one.compressions.empty()) {
    const Bytes all = setup.image.first(std::min(setup.image.size(), kMostUnpacked));
    require(std::equal(all.begin(), all.end(), one.content.begin(), one.content.end()), "other files stay as they are");
  }
  test::keep_buffer(std::move(one.content));
  test::keep_buffer(std::move(two.content));
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_unpack({data, size});
  return 0;
}
