// Every recogniser over the same bytes: none may read outside of them, and they must agree.
#include <array>

#include "formats/raw.h"
#include "harness.h"
#include "tar_reader.h"
#include "unpack/unpack.h"

namespace dvcr::fuzz {
namespace {

/// What may be declared, and one that may not.
constexpr std::array<std::string_view, 8> kDeclarable{"raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx", "iso", "qed"};

/// Knows where its zeros are, as a file system does.
class HoleySource final : public ByteSource {
 public:
  explicit HoleySource(Bytes bytes) : rest_(bytes) {}
  Bytes peek() override { return rest_.first(std::min<size_t>(rest_.size(), 4 * kKiB)); }
  void consume(size_t count) override { rest_ = rest_.subspan(count); }
  uint64_t skip_hole() override {
    constexpr size_t kBlock = 512;
    size_t zeros = 0;
    while (rest_.size() - zeros >= kBlock && is_zero(rest_.subspan(zeros, kBlock))) zeros += kBlock;
    consume(zeros);
    return zeros;
  }

 private:
  Bytes rest_;
};

/// Zeros that are told of instead of being read make no difference. A source is asked for them only behind the first
/// MiB, so the image stands there once more.
void check_holes(const Setup& setup) {
  if (setup.options.chunk != 0) return;
  Buffer far = test::spare_buffer();
  far.resize(kMiB);
  std::copy(setup.image.begin(), setup.image.end(), far.begin());
  far.insert(far.end(), setup.image.begin(), setup.image.end());
  test::ConvertOptions options = setup.options;
  options.open = {};
  options.with_ranges = options.known_size = false;
  test::Converted read = convert(far, options);
  HoleySource origin(far);
  PrefixSource source(origin);
  ScratchBudget budget(options.limits.max_scratch);
  ImageReader reader(source, options.limits, budget, std::filesystem::temp_directory_path().string());
  test::CollectSink sink;
  const test::Converted told = test::caught([&] {
    open_image(source, reader, {})->convert(sink);
    sink.finish();
  });
  const bool forward = read.info.format == "raw" || read.info.format == "iso";
  require(!forward || (told.code == read.code && sink.disk == read.disk), "holes make no difference", told.message);
  test::keep_buffer(std::move(read.disk));
  test::keep_buffer(std::move(far));
}

void check_declared(const Setup& setup, std::string_view declared) {
  test::ConvertOptions options = setup.options;
  options.open.declared_format = declared;
  test::Converted result = convert(setup.image, options);
  require(!result.code.empty() || result.info.format == declared, "what is read is what was declared");
  test::keep_buffer(std::move(result.disk));
}

void check_probe(Bytes input) {
  if (input.size() < kConfigSize) return;
  const Setup setup = setup_of("raw", input, input.subspan(kConfigSize));
  const Bytes head = setup.image.first(std::min(setup.image.size(), kProbeSize));
  detect_compression(head);
  is_tar(head);
  guess_size(head);
  partitions_end(head);
  std::string_view recognised;
  // Two formats in one file are an error here as well; open_image() then gives the same one below.
  const test::Converted ambiguous = test::caught([&] { recognised = recognised_format(head); });
  const std::string_view nested = nested_format(head);
  require(nested.empty() || !recognised.empty() || !ambiguous.code.empty(), "what is nested is recognised");
  test::ConvertOptions options = setup.options;
  options.open.declared_format.clear();
  options.with_ranges = false;
  test::Converted result = convert(setup.image, options);
  if (result.code.empty() && result.info.format != "raw") {
    require(result.info.format == recognised, "what is read is what is recognised");
  }
  check_holes(setup);
  if (result.code.empty() && result.info.format == "raw") require(recognised.empty(), "raw is what nothing recognises");
  test::keep_buffer(std::move(result.disk));
  check_declared(setup, kDeclarable[(input[0] + (input[1] >> 1)) % kDeclarable.size()]);
  check_image("raw", input);
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_probe({data, size});
  return 0;
}
