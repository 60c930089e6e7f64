#include "magic.h"
#include "unpack.h"

namespace dvcr {

UnpackChain::UnpackChain(ByteSource& source, const Limits& limits, unsigned threads, Compression declared) {
  stages_.push_back({nullptr, std::make_unique<PrefixSource>(source)});
  if (declared != Compression::kNone) {
    add(declared, limits, threads);
    return;
  }
  while (true) {
    Compression compression = detect_compression(output().prefix(kMagicSize));
    if (compression == Compression::kNone) return;
    if (compressions_.size() == limits.max_compression_depth) {
      throw Error(code::kNestedCompression,
                  "more than " + std::to_string(limits.max_compression_depth) + " compressions around each other");
    }
    add(compression, limits, threads);
  }
}

void UnpackChain::add(Compression compression, const Limits& limits, unsigned threads) {
  PrefixSource& outer = output();
  // Replaces the hint of the layer around: only the innermost content's size matters.
  size_hint_ = unpacked_size_hint(compression, outer, limits);
  compressions_.push_back(compression);
  std::unique_ptr<Unpacker> unpacker = make_unpacker(compression, outer, limits, threads);
  auto prefix = std::make_unique<PrefixSource>(*unpacker);
  stages_.push_back({std::move(unpacker), std::move(prefix)});
}

bool UnpackChain::end_says(uint64_t size) const {
  RangeReader* file = stages_.front().prefix->ranges();
  return file != nullptr && compressions_ == std::vector{Compression::kGzip} && gzip_trailer_says(size, *file);
}

void UnpackChain::finish(bool accept_trailing) {
  for (auto stage = stages_.rbegin(); stage != stages_.rend(); ++stage) {
    for (Bytes next = stage->prefix->peek(); !next.empty(); next = stage->prefix->peek()) {
      stage->prefix->consume(next.size());
    }
    const bool accepted = accept_trailing && stage == stages_.rbegin();
    if (stage->unpacker && stage->unpacker->trailing() && !accepted) {
      throw Error(code::kTrailingData, "data follows the end of the gzip stream at its byte " +
                                           std::to_string(stage->unpacker->trailing()->at));
    }
  }
}

std::optional<TrailingData> UnpackChain::trailing() const {
  return stages_.back().unpacker ? stages_.back().unpacker->trailing() : std::nullopt;
}

}  // namespace dvcr
