#include "session.h"

#include "formats/raw.h"
#include "unpack/unpack.h"

namespace dvcr {
namespace {

// Headers and metadata of every format stand within this many first bytes (VHDX: regions at 1 to 4 MiB).
constexpr size_t kHeaderWindow = 8 * kMiB;

ImageReport report_of(const DiskImage& image, const UnpackChain& chain) {
  ImageReport report{image.info(), {}};
  for (Compression compression : chain.compressions()) report.compressions.emplace_back(compression_name(compression));
  return report;
}

void check_virtual_size(const DiskInfo& info, const Limits& limits) {
  if (info.virtual_size && *info.virtual_size > limits.max_virtual_size) {
    throw Error(code::kTooLarge, "the disk has " + std::to_string(*info.virtual_size) +
                                     " bytes, more than the limit of " + std::to_string(limits.max_virtual_size));
  }
}

// What is known of the length of a disk that has no header to say it, best first.
SizePlan plan_size(const SessionOptions& options, const DiskInfo& info, UnpackChain& chain) {
  if (options.declared_size) return {options.declared_size, true, "declared"};
  if (auto size = chain.output().size()) return {size, true, "content-length"};
  const std::optional<SizeHint>& hint = chain.size_hint();
  if (hint && hint->exact) return {hint->size, true, hint->from};
  SizePlan plan{std::nullopt, false, "counted", !options.replayable};
  if (info.format == "raw" || info.format == "iso") {
    if (auto guess = guess_size(chain.output().prefix(kProbeSize))) {
      plan.size = guess->size;
      plan.from = guess->from;
      return plan;
    }
  }
  if (hint) {
    plan.size = hint->size;
    plan.from = hint->from;
  }
  return plan;
}

uint64_t count_rest(ByteSource& source) {
  uint64_t count = 0;
  for (Bytes rest = source.peek(); !rest.empty(); rest = source.peek()) {
    count += rest.size();
    source.consume(rest.size());
  }
  return count;
}

}  // namespace

struct Session::Impl {
  SessionOptions options;
  LayerOutput& output;
  std::function<void(const ImageReport&)> on_image;
  ScratchBudget budget;
  VerifySource verify;
  // Declared before the layer and so destroyed after it: its threads still tell the image about decoded units.
  std::optional<ImageReader> reader;
  std::unique_ptr<DiskImage> image;
  LayerBuilder layer;

  Impl(SessionOptions given, ChunkSource& source, LayerOutput& layer_output, BeginLayer begin,
       std::function<void(const ImageReport&)> image_callback)
      : options(std::move(given)),
        output(layer_output),
        on_image(std::move(image_callback)),
        budget(options.limits.max_scratch),
        verify(source, options.checksums),
        layer(options.layer, options.limits, budget, output, std::move(begin)) {}

  SessionResult run() {
    UnpackChain chain(verify, options.limits, options.layer.threads);
    SessionResult result;
    if (options.keep_source_format) {
      store_as_is(chain, result);
    } else {
      convert(chain, result);
    }
    chain.finish();
    result.checksums = verify.finish();
    result.source_size = verify.total();
    result.layer = layer.finish();
    result.scratch_peak = budget.peak();
    return result;
  }

  void convert(UnpackChain& chain, SessionResult& result) {
    PrefixSource& content = chain.output();
    reader.emplace(content, options.limits, budget, options.layer.scratch_directory);
    // The plan looks at the first bytes again, so they must be buffered before a parser consumes them.
    content.prefix(kProbeSize);
    image = open_image(content, *reader, options.open);
    result.image = report_of(*image, chain);
    const DiskInfo& info = image->info();
    check_virtual_size(info, options.limits);
    result.stored_format = info.format == "iso" ? "iso" : "raw";
    bool headless = info.format == "raw" || info.format == "iso";
    SizePlan plan = headless ? plan_size(options, info, chain) : SizePlan{info.virtual_size, true, "header"};
    if (on_image) on_image(result.image);
    if (!plan.size && options.replayable) throw SizeHintWrong(count_rest(content));
    layer.start(plan);
    image->convert(layer);
    reader->drain();
  }

  // The unpacked file verbatim. Its headers are still parsed, from the first bytes, so that what is refused when
  // converting is refused here too and the report is the same.
  void store_as_is(UnpackChain& chain, SessionResult& result) {
    PrefixSource& content = chain.output();
    result.image = inspect_prefix(chain, options.limits, options.open, options.layer.scratch_directory);
    check_virtual_size(result.image.info, options.limits);
    result.stored_format = result.image.info.format;
    SizePlan plan = plan_size(options, result.image.info, chain);
    if (on_image) on_image(result.image);
    if (!plan.size && options.replayable) throw SizeHintWrong(count_rest(content));
    layer.start(plan);
    uint64_t stored = 0;
    for (;;) {
      MutableBytes room = layer.reserve(kMiB);
      size_t got = content.read(room);
      layer.commit(got);
      stored += got;
      if (got < room.size()) break;
    }
    if (result.stored_format == "raw" || result.stored_format == "iso") result.image.info.virtual_size = stored;
  }

  static ImageReport inspect_prefix(UnpackChain& chain, const Limits& limits, const OpenOptions& open,
                                    const std::string& scratch_directory) {
    PrefixSource& content = chain.output();
    for (size_t window = kProbeSize;; window = kHeaderWindow) {
      Bytes head = content.prefix(window);
      MemorySource memory(head);
      PrefixSource prefix(memory);
      ScratchBudget none(0);
      ImageReader head_reader(prefix, limits, none, scratch_directory);
      try {
        ImageReport report = report_of(*open_image(prefix, head_reader, open), chain);
        // A prefix is shorter than the file, so only the source itself knows the length of a headerless disk.
        if (report.info.format == "raw" || report.info.format == "iso") report.info.virtual_size = content.size();
        return report;
      } catch (const Error& error) {
        if (error.code() != code::kTruncated || window == kHeaderWindow || head.size() < window) throw;
      }
    }
  }
};

Session::Session(SessionOptions options, ChunkSource& source, LayerOutput& output, BeginLayer begin,
                 std::function<void(const ImageReport&)> on_image)
    : impl_(std::make_unique<Impl>(std::move(options), source, output, std::move(begin), std::move(on_image))) {}

Session::~Session() = default;
SessionResult Session::run() {
  return impl_->run();
}
void Session::cancel() {
  impl_->layer.cancel();
}
uint64_t Session::disk_bytes() const {
  return impl_->layer.disk_bytes();
}
uint64_t Session::scratch_bytes() const {
  return impl_->budget.used();
}
uint64_t Session::source_bytes() const {
  return impl_->verify.total();
}

ImageReport inspect(ChunkSource& source, const Limits& limits, const OpenOptions& options,
                    std::string scratch_directory) {
  VerifySource verify(source, {});
  UnpackChain chain(verify, limits, 1);
  ScratchBudget none(0);
  ImageReader reader(chain.output(), limits, none, scratch_directory);
  return report_of(*open_image(chain.output(), reader, options), chain);
}

}  // namespace dvcr
