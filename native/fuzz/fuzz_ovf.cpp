// The texts of an OVA: which files its descriptor calls disks, and what its manifest says of files.
#include "harness.h"
#include "ovf.h"

namespace dvcr::fuzz {
namespace {

void check_ovf(Bytes text) {
  if (const auto disks = ovf_disks(text)) {
    for (const std::string& name : *disks) {
      require(!name.empty(), "a disk has a name");
      require(std::count(disks->begin(), disks->end(), name) == 1, "a disk is named once");
      same_file_name(name, "disk.vmdk");
    }
  }
  for (const ManifestLine& line : parse_ova_manifest(text)) {
    const size_t digits = line.algorithm == "sha1" ? 40 : line.algorithm == "sha256" ? 64 : 128;
    require(digits != 128 || line.algorithm == "sha512", "only known algorithms are returned");
    require(line.digest.size() == digits, "a digest has its length");
    require(line.digest.find_first_not_of("0123456789abcdef") == std::string::npos, "a digest is hexadecimal");
  }
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_ovf({data, size});
  return 0;
}
