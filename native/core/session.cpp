#include "session.h"

#include "content.h"
#include "formats/raw.h"

namespace dvcr {
namespace {

// Headers and metadata of every format stand within this many first bytes (VHDX: regions at 1 to 4 MiB).
constexpr size_t kHeaderWindow = 8 * kMiB;

ImageReport report_of(const DiskImage& image, const Content& content) {
  return {image.info(), content.wrappings()};
}

void check_virtual_size(const DiskInfo& info, const Limits& limits) {
  if (info.virtual_size && *info.virtual_size > limits.max_virtual_size) {
    throw Error(code::kTooLarge, "the disk has " + std::to_string(*info.virtual_size) +
                                     " bytes, more than the limit of " + std::to_string(limits.max_virtual_size));
  }
}

/// Of a file of `file_size` bytes that ends with a footer, if any: the disk before it.
uint64_t without_footer(uint64_t file_size, const DiskInfo& info) {
  return file_size - std::min(file_size, info.footer_size);
}

/// The file itself as what is stored, footer and all.
DiskInfo whole_file(DiskInfo info) {
  info.footer_size = 0;
  return info;
}

/// True where only the file's length says the disk's.
bool ends_with_file(const DiskInfo& info) {
  return info.format == "raw" || info.format == "iso" || info.footer_size > 0;
}

/// True where a size must be found for the disk: it has no header that says it.
bool is_headless(const DiskInfo& info) {
  return info.format == "raw" || info.format == "iso" || !info.virtual_size;
}

// What is known of the length of a disk that has no header to say it, best first. Where the disk's beginning and the
// end of the file around it agree, nothing is kept in case both are wrong: an origin that was asked for that end can be
// asked for the whole again.
SizePlan plan_size(const SessionOptions& options, const DiskInfo& info, Content& content) {
  if (options.declared_size) return {options.declared_size, true, "declared"};
  if (auto size = content.output().size()) return {without_footer(*size, info), true, "content-length"};
  const std::optional<SizeHint> hint = content.size_hint();
  if (hint && hint->exact) return {without_footer(hint->size, info), true, hint->from};
  SizePlan plan{std::nullopt, false, "counted", !options.replayable};
  const Bytes head = content.output().prefix(kProbeSize);
  if (is_headless(info)) {
    if (auto guess = guess_size(head)) {
      plan.size = guess->size;
      plan.from = guess->from;
      if (content.end_says(guess->size + info.footer_size)) plan.keep_body = false;
      return plan;
    }
  }
  if (hint) {
    plan.size = without_footer(hint->size, info);
    plan.from = hint->from;
    const uint64_t least = partitions_end(head);
    if (least > 0 && least <= *plan.size && content.end_says(hint->size)) plan.keep_body = false;
  }
  return plan;
}

/// Where the disk file is read from: the source itself, or the layer around it, made in `container`.
ChunkSource& disk_file(ChunkSource& source, const SessionOptions& options,
                       std::optional<ContainerLayerSource>& container) {
  if (!options.container_layer) return source;
  return container.emplace(source, *options.container_layer, options.limits);
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
  ContentSink& sink;
  ScratchBudget& budget;
  std::function<void(const ImageReport&)> on_image;
  std::optional<ContainerLayerSource> container;
  VerifySource verify;
  // The sink's threads tell the image about decoded units: the owner stops them before this goes.
  std::optional<ImageReader> reader;
  std::unique_ptr<DiskImage> image;

  Impl(SessionOptions given, ChunkSource& source, ContentSink& content_sink, ScratchBudget& scratch,
       std::function<void(const ImageReport&)> image_callback)
      : options(std::move(given)),
        sink(content_sink),
        budget(scratch),
        on_image(std::move(image_callback)),
        verify(disk_file(source, options, container), options.checksums) {}

  SessionResult run() {
    Content content(verify, options.limits, options.threads, options.open.source_is_disk, options.declared_compression);
    SessionResult result;
    if (options.keep_source_format) {
      store_as_is(content, result);
    } else {
      convert(content, result);
    }
    content.finish();
    std::vector<std::string>& warnings = result.image.info.warnings;
    warnings.insert(warnings.end(), content.warnings().begin(), content.warnings().end());
    result.checksums = verify.finish();
    if (container) container->finish();
    result.source_size = source_bytes();
    sink.finish();
    result.scratch_peak = budget.peak();
    return result;
  }

  [[nodiscard]] uint64_t source_bytes() const { return container ? container->blob_bytes() : verify.total(); }

  void convert(Content& content, SessionResult& result) {
    PrefixSource& bytes = content.output();
    reader.emplace(bytes, options.limits, budget, options.scratch_directory);
    // The plan looks at the first bytes again, so they must be buffered before a parser consumes them.
    bytes.prefix(kProbeSize);
    image = open_image(bytes, *reader, options.open);
    result.image = report_of(*image, content);
    const DiskInfo& info = image->info();
    check_virtual_size(info, options.limits);
    result.stored_format = info.format == "iso" ? "iso" : "raw";
    SizePlan plan = is_headless(info) ? plan_size(options, info, content) : SizePlan{info.virtual_size, true, "header"};
    if (on_image) on_image(result.image);
    start(plan, bytes, info);
    image->convert(sink);
    reader->drain();
  }

  void start(const SizePlan& plan, ByteSource& bytes, const DiskInfo& info) {
    if (!plan.size && options.replayable && sink.needs_size()) {
      throw SizeHintWrong(without_footer(count_rest(bytes), info));
    }
    sink.start(plan);
  }

  // The unpacked file verbatim. Its headers are still parsed, from the first bytes, so that what is refused when
  // converting is refused here too and the report is the same.
  void store_as_is(Content& content, SessionResult& result) {
    PrefixSource& bytes = content.output();
    result.image = inspect_prefix(content, options.limits, options.open, options.scratch_directory);
    check_virtual_size(result.image.info, options.limits);
    result.stored_format = result.image.info.format;
    const DiskInfo stored_whole = whole_file(result.image.info);
    SizePlan plan = plan_size(options, stored_whole, content);
    if (on_image) on_image(result.image);
    start(plan, bytes, stored_whole);
    uint64_t stored = 0;
    for (;;) {
      MutableBytes room = sink.reserve(kMiB);
      size_t got = bytes.read(room);
      sink.commit(got);
      stored += got;
      if (got < room.size()) break;
    }
    DiskInfo& info = result.image.info;
    if (ends_with_file(info)) info.virtual_size = without_footer(stored, info);
  }

  static ImageReport inspect_prefix(Content& content, const Limits& limits, const OpenOptions& open,
                                    const std::string& scratch_directory) {
    PrefixSource& bytes = content.output();
    for (size_t window = kProbeSize;; window = kHeaderWindow) {
      Bytes head = bytes.prefix(window);
      MemorySource memory(head);
      PrefixSource prefix(memory);
      ScratchBudget none(0);
      ImageReader head_reader(prefix, limits, none, scratch_directory);
      try {
        ImageReport report = report_of(*open_image(prefix, head_reader, open), content);
        // A prefix is shorter than the file, so only the source itself knows the length of a headerless disk.
        DiskInfo& info = report.info;
        if (!ends_with_file(info)) return report;
        info.virtual_size = bytes.size();
        if (info.virtual_size) info.virtual_size = without_footer(*info.virtual_size, info);
        return report;
      } catch (const Error& error) {
        if (error.code() != code::kTruncated || window == kHeaderWindow || head.size() < window) throw;
      }
    }
  }
};

Session::Session(SessionOptions options, ChunkSource& source, ContentSink& sink, ScratchBudget& budget,
                 std::function<void(const ImageReport&)> on_image)
    : impl_(std::make_unique<Impl>(std::move(options), source, sink, budget, std::move(on_image))) {}

Session::~Session() = default;
SessionResult Session::run() {
  return impl_->run();
}
void Session::cancel() {
  impl_->sink.cancel();
}
void Session::stop() {
  impl_->sink.stop();
}
uint64_t Session::disk_bytes() const {
  return impl_->sink.disk_bytes();
}
uint64_t Session::scratch_bytes() const {
  return impl_->budget.used();
}
uint64_t Session::source_bytes() const {
  return impl_->source_bytes();
}

ImageReport inspect(ChunkSource& source, const SessionOptions& options) {
  std::optional<ContainerLayerSource> container;
  VerifySource verify(disk_file(source, options, container), {});
  Content content(verify, options.limits, 1, options.open.source_is_disk);
  ScratchBudget none(0);
  ImageReader reader(content.output(), options.limits, none, options.scratch_directory);
  return report_of(*open_image(content.output(), reader, options.open), content);
}

}  // namespace dvcr
