#include "content.h"

namespace dvcr {
namespace {

constexpr size_t kTarHeaderSize = 512;

}  // namespace

Content::Content(ByteSource& source, const Limits& limits, unsigned threads, bool opaque, Compression declared) {
  if (opaque && declared == Compression::kNone) {
    output_ = &plain_.emplace(source);
    return;
  }
  outer_.emplace(source, limits, threads, declared);
  output_ = &outer_->output();
  note(*outer_);
  if (opaque || !is_tar(output_->prefix(kTarHeaderSize))) return;

  archive_.emplace(*output_);
  archive_->open();
  wrappings_.emplace_back("tar");
  Limits inside = limits;
  // What is around the archive counts as well: the depth is one for the whole source.
  inside.max_compression_depth -= static_cast<unsigned>(outer_->compressions().size());
  inner_.emplace(*archive_, inside, threads);
  output_ = &inner_->output();
  note(*inner_);
}

std::optional<SizeHint> Content::size_hint() const {
  if (inner_) return inner_->size_hint();
  return outer_ ? outer_->size_hint() : std::nullopt;
}

bool Content::end_says(uint64_t size) const {
  return !archive_ && outer_ && outer_->end_says(size);
}

void Content::finish() {
  if (inner_) inner_->finish();
  if (archive_) archive_->finish();
  if (outer_) outer_->finish();
}

void Content::note(const UnpackChain& chain) {
  for (Compression compression : chain.compressions()) wrappings_.emplace_back(compression_name(compression));
}

}  // namespace dvcr
