// The text descriptor of a VMDK: what is accepted is plain and names no other file that would be needed.
#include "formats/vmdk_descriptor.h"
#include "harness.h"

namespace dvcr::fuzz {
namespace {

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= ' ' && c != 0x7f; });
}

void check_descriptor(Bytes text) {
  is_vmdk_descriptor(text);
  VmdkDescriptor descriptor;
  if (!test::caught([&] { descriptor = parse_vmdk_descriptor(text); }).code.empty()) return;
  require(text.size() <= kMaxVmdkDescriptor, "a descriptor is bounded");
  require(is_plain(descriptor.create_type) && is_plain(descriptor.parent_hint),
          "values are without control characters");
  const bool utf8 = !extends_ascii(descriptor.encoding);
  for (const VmdkExtentLine& extent : descriptor.extents) {
    require(!utf8 || plain_utf8_length(extent.name) == extent.name.size(), "names are UTF-8 or of the encoding named");
    require(is_plain(extent.name) && is_plain(extent.type) && is_plain(extent.access),
            "extents are without control characters");
  }
  Buffer padded(text.begin(), text.end());
  padded.resize(std::min(padded.size() + 512, kMaxVmdkDescriptor));
  const VmdkDescriptor again = parse_vmdk_descriptor(padded);
  require(again.create_type == descriptor.create_type && again.extents.size() == descriptor.extents.size(),
          "padding changes nothing");
  if (!test::caught([&] { refuse_unless_one_file(descriptor); }).code.empty()) return;
  require(descriptor.parent_cid == kVmdkNoParent && descriptor.parent_hint.empty(), "a parent is refused");
  require(same_word(descriptor.create_type, "monolithicSparse") || same_word(descriptor.create_type, "streamOptimized"),
          "only disks in one file are taken");
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_descriptor({data, size});
  return 0;
}
