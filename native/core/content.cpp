#include "content.h"

#include <algorithm>

#include "disk_image.h"
#include "formats/raw.h"
#include "formats/refused.h"
#include "tar_reader.h"

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
  // An Apple disk image may begin with a chunk that is a compressed stream.
  const RefusedFormat* refused = outer_->compressions().empty() || opaque ? nullptr : refused_by_trailer(source);
  if (refused != nullptr) throw_refused(*refused);
  note(*outer_);
  if (opaque || !is_tar(output_->prefix(kTarHeaderSize))) return;

  archive_.emplace(*output_, limits);
  archive_->open();
  wrappings_.emplace_back("tar");
  for (std::string& wrapping : archive_->wrappings()) wrappings_.push_back(std::move(wrapping));
  Limits inside = limits;
  // What is around the archive counts as well: the depth is one for the whole source.
  inside.max_compression_depth -= static_cast<unsigned>(outer_->compressions().size());
  inner_.emplace(*archive_, inside, threads);
  output_ = &inner_->output();
  note(*inner_);
  if (is_tar(output_->prefix(kTarHeaderSize))) {
    throw Error(code::kUnsupportedFormat,
                "the archive holds another archive, " + archive_->member() + ", and no disk: unpack it first");
  }
}

std::optional<SizeHint> Content::size_hint() const {
  if (inner_) return inner_->size_hint();
  return outer_ ? outer_->size_hint() : std::nullopt;
}

bool Content::end_says(uint64_t size) const {
  return !archive_ && outer_ && outer_->end_says(size);
}

bool Content::is_whole(uint64_t unpacked) const {
  const std::string_view format = recognised_format(head_);
  if (!format.empty() && format != "iso") return true;
  if (const std::optional<SizeGuess> size = guess_size(head_)) return size->size <= unpacked;
  const uint64_t end = partitions_end(head_);
  return end > 0 && end <= unpacked;
}

void Content::finish(UnpackChain& chain) {
  chain.finish(true);
  const std::optional<TrailingData> trailing = chain.trailing();
  if (!trailing) return;
  const std::string where = std::to_string(trailing->length) + " bytes follow the end of the gzip stream at its byte " +
                            std::to_string(trailing->at);
  if (!is_whole(trailing->unpacked)) {
    throw Error(code::kTrailingData, where + ", and nothing says that the disk before them is complete");
  }
  warnings_.push_back(where + "; they are left out, the disk before them is complete");
}

void Content::finish() {
  if (inner_) finish(*inner_);
  if (archive_) {
    archive_->finish();
    if (archive_->trailing() > 0) {
      warnings_.push_back(std::to_string(archive_->trailing()) + " bytes follow the end of the tar; they are left out");
    }
  }
  if (!outer_) return;
  inner_ ? outer_->finish() : finish(*outer_);
}

void Content::note(const UnpackChain& chain) {
  for (Compression compression : chain.compressions()) wrappings_.emplace_back(compression_name(compression));
  const bool gzip = !chain.compressions().empty() && chain.compressions().back() == Compression::kGzip;
  if (!gzip) return;
  const Bytes head = output_->prefix(kProbeSize);
  head_.assign(head.begin(), head.end());
}

}  // namespace dvcr
