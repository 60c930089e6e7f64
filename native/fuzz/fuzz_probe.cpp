// Every recogniser over the same bytes: none may read outside of them, and they must agree.
#include <array>

#include "archive_source.h"
#include "formats/raw.h"
#include "harness.h"
#include "unpack/unpack.h"

namespace dvcr::fuzz {
namespace {

/// What may be declared, and one that may not.
constexpr std::array<std::string_view, 8> kDeclarable{"raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx", "iso", "qed"};

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
