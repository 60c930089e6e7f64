#include "archive_corpus.h"

#include <filesystem>

#include "block_images.h"
#include "hash.h"
#include "unpack_inputs.h"
#include "vmdk_maker.h"

namespace dvcr::fuzz {
namespace {

using test::run;
using test::TempDir;

constexpr size_t kSmall = 48 * kKiB;

Buffer small_disk(uint64_t seed, size_t size) {
  return test::patchy_disk(size, 4096, seed);
}

Buffer text_seed(std::string_view text) {
  return {text.begin(), text.end()};
}

std::string digest_of(std::string_view algorithm, const Buffer& bytes) {
  Digest digest(algorithm);
  digest.update(bytes);
  return digest.finish();
}

constexpr std::string_view kOvf =
    "<?xml version=\"1.0\"?>\n<Envelope xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"><References>"
    "<File ovf:href=\"disk%2evmdk\" ovf:id=\"f1\"/><File ovf:href='a&amp;b.iso' ovf:id='f2'/></References><DiskSection>"
    "<Disk ovf:diskId=\"d\" ovf:fileRef=\"f1\"/><Disk ovf:diskId=\"e\"/></DiskSection></Envelope>";

}  // namespace

std::vector<Buffer> ovf_seeds() {
  const Buffer some = text_seed("some");
  std::string manifest;
  for (const char* algorithm : {"sha1", "sha256", "sha512"}) {
    manifest += std::string(algorithm) + "(disk.vmdk)= " + digest_of(algorithm, some) + "\r\n";
  }
  return {text_seed(kOvf),
          text_seed("<Envelope><References><File"),
          text_seed("<!DOCTYPE a [<!ENTITY b 'c'>]><Envelope>&b;</Envelope>"),
          text_seed("<Other/>"),
          text_seed(manifest),
          text_seed("SHA256 (a) = 00\nSHA1(b)=\n(c)= \n=)(\n")};
}

std::vector<Buffer> archive_seeds() {
  TempDir directory;
  const std::string folder = directory.path("");
  test::write_file(directory.path("disk.vmdk"),
                   test::make_stream_vmdk(small_disk(8, kSmall), {.grain_sectors = 8}).bytes);
  run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", directory.path("other.qcow2"), "64K"});
  test::write_file(directory.path("disk.img"), small_disk(9, 9000));
  test::write_file(directory.path("disk.vmdk.000000000"), small_disk(9, 900));
  test::write_file(directory.path("vm.ovf"), text_seed(kOvf));
  const Buffer disk = test::read_file(directory.path("disk.vmdk"));
  const std::string line = "SHA256(disk.vmdk)= " + digest_of("sha256", disk) + "\nSHA1(disk.vmdk)= ";
  test::write_file(directory.path("vm.mf"), text_seed(line + digest_of("sha1", disk) + "\n"));
  test::write_file(directory.path("bad.mf"), text_seed(line + std::string(40, '0') + "\n"));
  const std::string far(120, 'n');
  test::write_file(directory.path(far + ".img"), small_disk(10, 5000));
  test::write_file(directory.path("holes.img"), {});
  run({"truncate", "-s", "200K", directory.path("holes.img")});
  run({"ln", "-sf", "/etc/passwd", directory.path("link.img")});
  std::vector<Buffer> seeds;
  auto tar = [&](const std::vector<std::string>& arguments) {
    const std::string out = directory.path("out.tar");
    std::vector<std::string> command{"tar", "-C", folder, "-b1", "-cf", out};
    command.insert(command.end(), arguments.begin(), arguments.end());
    run(command);
    seeds.push_back(test::read_file(out));
  };
  for (const char* format : {"ustar", "pax", "gnu", "oldgnu", "v7"}) {
    tar({std::string("--format=") + format, "vm.ovf", "disk.vmdk"});
  }
  tar({"--format=pax", far + ".img"});
  tar({"--format=gnu", far + ".img"});
  tar({"vm.ovf", "disk.vmdk", "other.qcow2"});
  tar({"disk.img", "vm.ovf"});
  tar({"vm.ovf", "disk.vmdk.000000000"});
  tar({"vm.ovf", "link.img"});
  tar({"--format=gnu", "-S", "holes.img"});
  for (const char* version : {"0.0", "0.1", "1.0"}) {
    tar({"--format=pax", "-S", std::string("--sparse-version=") + version, "holes.img"});
  }
  tar({"vm.ovf", "vm.mf", "other.qcow2", "disk.vmdk"});
  tar({"vm.ovf", "disk.vmdk", "bad.mf"});
  tar({"vm.ovf", "other.qcow2"});
  // Archives within archives: a saved container image, and others.
  std::filesystem::create_directories(directory.path("disk"));
  std::filesystem::create_directories(directory.path("blobs/sha256"));
  test::write_file(directory.path("disk/disk.img"), small_disk(9, 3000));
  test::write_file(directory.path("oci-layout"), text_seed("{}"));
  tar({"disk"});
  const Buffer layer = seeds.back();
  for (const Buffer& blob : {layer, test::gzip_member(layer)}) {
    const std::string name = "blobs/sha256/" + digest_of("sha256", blob);
    test::write_file(directory.path(name), blob);
    tar({name, "oci-layout"});
    tar({"oci-layout", name, "disk.img"});
    tar({name});
  }
  tar({"disk.img"});
  seeds.back().resize(seeds.back().size() + 300, 7);
  return seeds;
}

}  // namespace dvcr::fuzz
