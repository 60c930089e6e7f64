#include "harness.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "formats/vmdk_lookahead.h"

namespace dvcr::fuzz {

namespace {

using test::Converted;
using test::ConvertOptions;

constexpr size_t kPage = 4096;
constexpr size_t kMostPages = 2048;
constexpr std::array<size_t, 8> kChunks{0, 1, 3, 511, 512, 513, 4096, 65537};
/// Small chunks of a large input take long and show nothing more.
constexpr size_t kLargeInput = 16 * kKiB;
constexpr size_t kHugeInput = 512 * kKiB;

size_t chunk_of(unsigned choice, size_t size) {
  const size_t chunk = kChunks[choice % kChunks.size()];
  if (size <= kLargeInput || chunk == 0) return chunk;
  return std::max<size_t>(chunk, size <= kHugeInput ? 511 : 65533);
}

void check_result(const Setup& setup, const Converted& result) {
  const Limits& limits = setup.options.limits;
  require(result.scratch_peak <= limits.max_scratch, "scratch stays within its limit");
  require(result.size <= limits.max_virtual_size + kMiB, "what is emitted stays within the limit");
  require(result.message.find('\n') == std::string::npos, "a message is one line");
  if (!result.code.empty()) return;
  require(result.size <= limits.max_virtual_size, "the disk is within the limit");
  require(!result.info.virtual_size || *result.info.virtual_size == result.size, "the disk has its header's length");
  require(result.size - result.zeros - result.unit_bytes <= setup.image.size(), "no byte of the file is used twice");
}

std::string both(const Converted& one, const Converted& two) {
  return one.code + " " + one.message + "\n" + two.code + " " + two.message;
}

/// Codes that depend on what the source can do, and so may part two ways to read one file.
bool depends_on_source(const Converted& result) {
  return result.code == code::kUndeclaredVhd || result.code == code::kScratchLimit ||
         result.code == code::kOutOfOrder || result.code == code::kUnsupportedFormat ||
         result.code == code::kMetadataLimit ||
         // Refcount blocks of qcow2 are known only where they can be looked up before the data.
         (result.info.format == "qcow2" && result.code == code::kOverlap);
}

/// A VMDK stream whose grains are out of order is read by its tables where there are ranges and refused by the first
/// rule it breaks where there are none, so the two need not agree.
bool is_vmdk_out_of_order(Bytes image) {
  if (image.size() < kSector || !is_vmdk_sparse(image)) return false;
  bool out_of_order = false;
  test::caught([&] {
    const VmdkHeader header = parse_vmdk_header(image.first(kSector));
    test::MemoryRanges file(image);
    out_of_order = header.tables_at_end() && out_of_order_footer(file, header, {}).has_value();
  });
  return out_of_order;
}

void check_conversions(const Setup& setup) {
  Converted one = convert(setup.image, setup.options);
  check_result(setup, one);

  ConvertOptions other = setup.options;
  other.chunk = setup.other_chunk;
  Converted two = convert(setup.image, other);
  require(one.code == two.code, "chunks do not change the code", both(one, two));
  require(one.size == two.size && one.disk == two.disk, "chunks do not change what is emitted", both(one, two));
  require(one.info.format == two.info.format, "chunks do not change the format");
  test::keep_buffer(std::move(two.disk));

  other.with_ranges = !other.with_ranges;
  other.known_size = other.with_ranges || !other.known_size;
  Converted three = convert(setup.image, other);
  check_result(setup, three);
  if (!depends_on_source(one) && !depends_on_source(three) && !is_vmdk_out_of_order(setup.image)) {
    require(one.code.empty() == three.code.empty(), "what is accepted does not depend on the source", both(one, three));
    if (one.code.empty()) require(one.disk == three.disk, "the disk does not depend on the source", both(one, three));
  }
  test::keep_buffer(std::move(one.disk));
  test::keep_buffer(std::move(three.disk));
}

}  // namespace

void require(bool holds, const char* rule, const std::string& detail) {
  if (holds) return;
  std::fprintf(stderr, "this does not hold: %s\n%s\n", rule, detail.c_str());
  std::abort();
}

Setup setup_of(std::string_view format, Bytes configuration, Bytes image) {
  const unsigned chunks = configuration[0];
  const unsigned flags = configuration[1];
  Setup setup;
  setup.image = image;
  setup.options.chunk = chunk_of(chunks & 0xf, setup.image.size());
  setup.other_chunk = chunk_of(chunks >> 4, setup.image.size());
  if ((flags & 1) != 0) setup.options.open.declared_format = format;
  setup.options.with_ranges = (flags & 4) != 0;
  setup.options.known_size = (flags & 6) != 0;  // who gives any range knows the size
  setup.options.lag = (flags & 8) != 0 ? 5 : 0;
  Limits& limits = setup.options.limits;
  limits.max_virtual_size = kLargestDisk;
  limits.max_decoder_memory = 16 * kMiB;
  limits.hold_window = (flags & 16) != 0 ? 4 * kKiB : kMiB;
  limits.max_scratch = (flags & 32) != 0 ? 32 * kKiB : 64 * kMiB;
  limits.max_metadata = (flags & 64) != 0 ? 8 * kKiB : 4 * kMiB;
  return setup;
}

void check_image(std::string_view format, Bytes input) {
  if (input.size() < kConfigSize) return;
  Bytes image = input.subspan(kConfigSize);
  Buffer expanded = test::spare_buffer();
  if (format == "vhdx") {
    image = expand_pages(image, expanded);
  }
  check_conversions(setup_of(format, input, image));
  test::keep_buffer(std::move(expanded));
}

Bytes expand_pages(Bytes pages, Buffer& buffer) {
  if (pages.size() < 2) return {};
  // Most of the time of a run goes into bytes that are touched, so only those of this image are.
  if (buffer.size() < kMostPages * kPage) buffer.resize(kMostPages * kPage);
  const MutableBytes image = MutableBytes(buffer).last(std::min<size_t>(le16(pages, 0), kMostPages) * kPage);
  std::fill(image.begin(), image.end(), uint8_t{0});
  for (size_t at = 2; pages.size() - at > 4;) {
    const size_t start = size_t{le16(pages, at)} * kPage;
    const size_t length = std::min<size_t>({le16(pages, at + 2), pages.size() - at - 4, kPage});
    const Bytes content = pages.subspan(at + 4, length);
    if (start < image.size())
      std::copy(content.begin(), content.end(), image.begin() + static_cast<std::ptrdiff_t>(start));
    at += 4 + length;
  }
  return image;
}

Buffer collapse_pages(Bytes image) {
  constexpr size_t kStep = 64;  // byte by byte it would take longer than the conversions
  const size_t pages = std::min(div_ceil(image.size(), kPage), uint64_t{kMostPages});
  Buffer out(2);
  test::put_le(out, 0, 2, pages);
  for (size_t page = 0; page < pages; ++page) {
    Bytes content = image.subspan(page * kPage, std::min(kPage, image.size() - page * kPage));
    if (is_zero(content)) continue;
    while (content.size() > kStep && is_zero(content.last(kStep))) content = content.first(content.size() - kStep);
    while (content.back() == 0) content = content.first(content.size() - 1);
    const size_t at = out.size();
    out.resize(at + 4);
    test::put_le(out, at, 2, page);
    test::put_le(out, at + 2, 2, content.size());
    out.insert(out.end(), content.begin(), content.end());
  }
  return out;
}

}  // namespace dvcr::fuzz
