#include "formats/vhd_footer.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string_view>

namespace dvcr {

namespace {

constexpr std::string_view kCookie = "conectix";
constexpr size_t kChecksumAt = 64;
constexpr uint64_t kSector = 512;
constexpr uint64_t kLargestGeometry = 65535ULL * 16 * 255;  // in sectors

// Writers whose disks have the size of their geometry.
constexpr std::array<std::string_view, 2> kByGeometry = {"vpc ", "qemu"};

bool cookie_and_checksum_fit(Bytes footer) {
  return footer.size() == kVhdFooterSize && has_magic(footer, 0, kCookie) &&
         vhd_checksum(footer, kChecksumAt) == be32(footer, kChecksumAt);
}

uint64_t visible_size(Bytes footer, uint64_t current_size) {
  const uint64_t sectors = uint64_t{be16(footer, 56)} * footer[58] * footer[59];
  const bool by_geometry = std::any_of(kByGeometry.begin(), kByGeometry.end(),
                                       [&](std::string_view creator) { return has_magic(footer, 28, creator); });
  return (by_geometry && sectors < kLargestGeometry ? sectors : current_size / kSector) * kSector;
}

}  // namespace

uint32_t vhd_checksum(Bytes bytes, size_t checksum_at) {
  const uint32_t all = std::accumulate(bytes.begin(), bytes.end(), uint32_t{0});
  Bytes own = slice(bytes, checksum_at, 4);
  return ~(all - std::accumulate(own.begin(), own.end(), uint32_t{0}));
}

bool is_vhd_footer(Bytes last512) {
  return cookie_and_checksum_fit(last512) && be32(last512, 60) == static_cast<uint32_t>(VhdType::kFixed);
}

VhdFooter parse_vhd_footer(Bytes footer) {
  if (footer.size() != kVhdFooterSize || !has_magic(footer, 0, kCookie)) {
    throw Error(code::kCorruptImage, "there is no VHD footer where one must be");
  }
  if (!cookie_and_checksum_fit(footer)) {
    throw Error(code::kCorruptImage, "the VHD footer's checksum is " + std::to_string(be32(footer, kChecksumAt)) +
                                         ", its bytes give " + std::to_string(vhd_checksum(footer, kChecksumAt)));
  }
  const uint32_t version = be32(footer, 12);
  if (version >> 16 != 1) {
    throw Error(code::kUnsupportedFeature, "VHD version " + std::to_string(version >> 16) + "; only 1 is read");
  }
  const uint32_t type = be32(footer, 60);
  if (type < 2 || type > 4) {
    throw Error(code::kCorruptImage, "the VHD's disk type is " + std::to_string(type));
  }
  VhdFooter out;
  out.type = static_cast<VhdType>(type);
  out.header_offset = be64(footer, 16);
  out.current_size = be64(footer, 48);
  out.virtual_size = visible_size(footer, out.current_size);
  out.saved_state = footer[84] != 0;
  return out;
}

}  // namespace dvcr
