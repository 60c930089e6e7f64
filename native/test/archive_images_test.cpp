// Archives that say themselves which member is the disk and what its bytes must be: OVA, and saved container disks.
#include "archive_lab.h"
#include "hash.h"
#include "unpack_inputs.h"
#include "vmdk_maker.h"

namespace dvcr::test {
namespace {

std::string digest_of(const std::string& algorithm, Bytes bytes) {
  Digest digest(algorithm);
  digest.update(bytes);
  return digest.finish();
}

std::string ovf(const std::vector<std::string>& disks, const std::vector<std::string>& others = {}) {
  std::string files;
  std::string section;
  for (const std::string& name : disks) {
    const std::string id = "file" + std::to_string(files.size());
    files += "<File ovf:href=\"" + name + "\" ovf:id=\"" + id + "\" ovf:size=\"1\"/>\n";
    section += "<Disk ovf:capacity=\"1\" ovf:diskId=\"disk\" ovf:fileRef=\"" + id + "\"/>\n";
  }
  for (const std::string& name : others) files += "<File ovf:href='" + name + "' ovf:id='other" + name + "'/>\n";
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" "
         "xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">\n<References>\n" +
         files + "</References>\n<!-- <Disk ovf:fileRef=\"none\"/> -->\n<DiskSection>\n<Disk ovf:diskId=\"empty\"/>" +
         section + "</DiskSection></Envelope>\n";
}

/// An ISO of nothing but its first descriptor.
std::vector<uint8_t> iso() {
  std::vector<uint8_t> bytes(40 * 2048);
  const std::string_view magic = "\1CD001\1";
  std::copy(magic.begin(), magic.end(), bytes.begin() + 16 * 2048);
  return bytes;
}

TEST(Ova, ItsDescriptorNamesTheDisk) {
  Workshop shop;
  const std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  shop.add("vm.ovf", ovf({"My%20disk.vmdk"}, {"tools.iso"}));
  shop.add("tools.iso", iso());
  shop.add("spare.vmdk", make_stream_vmdk(small_disk()).bytes);
  shop.add("My disk.vmdk", disk);
  for (const std::vector<std::string>& order :
       {std::vector<std::string>{"vm.ovf", "tools.iso", "spare.vmdk", "My disk.vmdk"},
        std::vector<std::string>{"vm.ovf", "My disk.vmdk", "spare.vmdk", "tools.iso"}}) {
    for (unsigned answers : {0u, kAlways}) {
      const Taken taken = take(shop.tar(order), 0, answers);
      ASSERT_EQ(taken.code, "") << taken.message;
      EXPECT_EQ(taken.member, "My disk.vmdk");
      EXPECT_TRUE(taken.bytes == disk);
    }
  }
  EXPECT_EQ(take(shop.tar({"tools.iso", "My disk.vmdk"})).code, code::kSeveralDisks) << "without a descriptor";
}

TEST(Ova, SeveralDisksOfADescriptorAreSeveral) {
  Workshop shop;
  shop.add("vm.ovf", ovf({"one.vmdk", "two.vmdk"}));
  shop.add("one.vmdk", make_stream_vmdk(small_disk()).bytes);
  shop.add("two.vmdk", make_stream_vmdk(small_disk()).bytes);
  for (unsigned answers : {0u, kAlways}) {
    EXPECT_EQ(take(shop.tar({"vm.ovf", "one.vmdk", "two.vmdk"}), 0, answers).code, code::kSeveralDisks);
  }
}

TEST(Ova, ADescriptorThatNamesAnotherFileIsSaidSoOrPassedOver) {
  Workshop shop;
  const std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  shop.add("vm.ovf", ovf({"gone.vmdk"}));
  shop.add("disk.vmdk", disk);
  const Taken pipe = take(shop.tar({"vm.ovf", "disk.vmdk"}));
  EXPECT_EQ(pipe.code, code::kNoDisk);
  EXPECT_TRUE(mentions(pipe, "gone.vmdk")) << pipe.message;
  const Taken file = take(shop.tar({"vm.ovf", "disk.vmdk"}), 0, kAlways);
  EXPECT_EQ(file.code, "") << file.message;
  EXPECT_TRUE(file.bytes == disk);
}

TEST(Ova, ADamagedDescriptorDecidesNothing) {
  Workshop shop;
  const std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  shop.add("disk.vmdk", disk);
  for (const std::string& text : {std::string("<Envelope><References>"),
                                  std::string("<!DOCTYPE x [<!ENTITY a 'b'>]>") + ovf({"gone.vmdk"}).substr(39),
                                  std::string("not XML"), std::string("<Other/>")}) {
    shop.add("vm.ovf", text);
    EXPECT_EQ(take(shop.tar({"vm.ovf", "disk.vmdk"})).code, "") << text;
  }
}

TEST(Ova, FilesOfMacosAreNoDisks) {
  Workshop shop;
  const std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  shop.add("._disk.vmdk", std::string_view("\0\5\x16\7 and attributes", 19));
  shop.add("._vm.ovf", "no descriptor");
  shop.add("vm.ovf", "no descriptor either");
  shop.add("disk.vmdk", disk);
  EXPECT_EQ(take(shop.tar({"._vm.ovf", "vm.ovf", "._disk.vmdk", "disk.vmdk"})).code, "");
}

TEST(Ova, ItsManifestIsCompared) {
  const std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  const std::string descriptor = ovf({"disk.vmdk"});
  const Bytes text(reinterpret_cast<const uint8_t*>(descriptor.data()), descriptor.size());
  for (const char* algorithm : {"sha1", "sha256", "sha512"}) {
    std::string name = algorithm;
    for (char& c : name) c = static_cast<char>(std::toupper(c));
    for (const std::string broken : {"", "disk.vmdk", "vm.ovf"}) {
      Workshop shop;
      auto line = [&](const std::string& file, Bytes bytes) {
        std::string digest = digest_of(algorithm, bytes);
        if (file == broken) digest[0] = digest[0] == '0' ? '1' : '0';
        return name + "(" + file + ")= " + digest + "\r\n";
      };
      shop.add("vm.ovf", descriptor);
      shop.add("disk.vmdk", disk);
      shop.add("vm.mf", line("vm.ovf", text) + line("disk.vmdk", disk) + "SHA999(vm.ovf)= 00\nnonsense\n");
      for (const std::vector<std::string>& order : {std::vector<std::string>{"vm.ovf", "vm.mf", "disk.vmdk"},
                                                    std::vector<std::string>{"vm.ovf", "disk.vmdk", "vm.mf"}}) {
        for (unsigned answers : {0u, kAlways}) {
          const Taken taken = take(shop.tar(order), 3000, answers);
          EXPECT_EQ(taken.code, broken.empty() ? "" : code::kChecksum) << algorithm << " " << broken;
          EXPECT_TRUE(broken.empty() || mentions(taken, broken)) << taken.message;
          EXPECT_TRUE(!broken.empty() || taken.bytes == disk);
        }
      }
    }
  }
}

TEST(Archive, AnXvaIsNotTakenForItsFirstPiece) {
  Workshop shop;
  shop.add("ova.xml", "<value/>");
  shop.add("Ref:12/00000000", small_disk());
  shop.add("Ref:12/00000001", small_disk());
  const Taken taken = take(shop.tar({"ova.xml", "Ref:12/00000000", "Ref:12/00000001"}, "gnu", {"--force-local"}));
  EXPECT_EQ(taken.code, code::kMultiFile) << taken.message;
}

/// The layer of a container disk, as a tar.
std::vector<uint8_t> layer(const std::string& file, Bytes disk) {
  Workshop shop;
  shop.add(file, disk);
  return shop.tar({file.substr(0, file.find('/'))});
}

/// An OCI layout with these blobs, as skopeo and podman pack it.
std::vector<uint8_t> oci_archive(const std::vector<std::vector<uint8_t>>& blobs) {
  Workshop shop;
  for (const std::vector<uint8_t>& blob : blobs) shop.add("blobs/sha256/" + digest_of("sha256", blob), blob);
  const std::string manifest = "{\"schemaVersion\":2,\"layers\":[]}";
  const Bytes bytes(reinterpret_cast<const uint8_t*>(manifest.data()), manifest.size());
  shop.add("blobs/sha256/" + digest_of("sha256", bytes), manifest);
  shop.add("index.json", "{\"schemaVersion\":2}");
  shop.add("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
  return shop.tar({"blobs", "index.json", "oci-layout"});
}

TEST(ContainerArchive, GivesTheDiskOfAnOciArchive) {
  const std::vector<uint8_t> disk = make_stream_vmdk(small_disk()).bytes;
  const std::vector<uint8_t> packed = layer("disk/disk.img", disk);
  const std::vector<uint8_t> other = layer("etc/hostname", noise(100, 1));
  for (const std::vector<uint8_t>& blob : {packed, gzip_member(packed), zstd_frame(packed)}) {
    const std::vector<uint8_t> archive = oci_archive({blob, gzip_member(other)});
    for (size_t chunk : {size_t{0}, size_t{999}}) {
      for (unsigned answers : {0u, kAlways}) {
        const Taken taken = take(archive, chunk, answers);
        ASSERT_EQ(taken.code, "") << taken.message;
        EXPECT_TRUE(taken.bytes == disk);
        EXPECT_EQ(taken.size, disk.size());
        EXPECT_TRUE(taken.member.ends_with(": disk/disk.img")) << taken.member;
        EXPECT_EQ(taken.wrappings.back(), "tar");
      }
    }
  }
}

TEST(ContainerArchive, GivesTheDiskOfADockerArchive) {
  const std::vector<uint8_t> disk = small_disk();
  Workshop shop;
  shop.add("0123.tar", layer("disk/disk.img", disk));
  shop.add("4567.json", "{}");
  shop.add("manifest.json", "[{\"Layers\":[\"0123.tar\"]}]");
  for (const std::vector<std::string>& order : {std::vector<std::string>{"0123.tar", "4567.json", "manifest.json"},
                                                std::vector<std::string>{"manifest.json", "4567.json", "0123.tar"}}) {
    const Taken taken = take(shop.tar(order));
    ASSERT_EQ(taken.code, "") << taken.message;
    EXPECT_TRUE(taken.bytes == disk);
  }
}

TEST(ContainerArchive, ABlobThatIsNotWhatItsNameSaysIsRefused) {
  Workshop shop;
  shop.add("blobs/sha256/" + std::string(64, '0'), gzip_member(layer("disk/disk.img", small_disk())));
  shop.add("oci-layout", "{}");
  EXPECT_EQ(take(shop.tar({"blobs", "oci-layout"})).code, code::kChecksum);
}

TEST(ContainerArchive, TwoLayersWithADiskAreSeveral) {
  const std::vector<uint8_t> one = layer("disk/disk.img", small_disk());
  const std::vector<uint8_t> two = layer("disk/other.img", small_disk());
  EXPECT_EQ(take(oci_archive({one, two})).code, code::kSeveralDisks);
  const std::vector<uint8_t> whiteout = layer("disk/.wh.disk.img", noise(1, 1));
  EXPECT_EQ(take(oci_archive({one, whiteout})).code, code::kSeveralDisks);
}

TEST(ContainerArchive, AnImageWithoutADiskHasNone) {
  const std::vector<uint8_t> other = layer("etc/hostname", noise(100, 1));
  for (unsigned answers : {0u, kAlways}) {
    const Taken taken = take(oci_archive({gzip_member(other)}), 0, answers);
    EXPECT_EQ(taken.code, code::kNoDisk);
    EXPECT_TRUE(mentions(taken, "disk/")) << taken.message;
  }
}

TEST(Archive, AnArchiveWithinAnArchiveIsRefused) {
  Workshop shop;
  shop.add("inner.tar.gz", gzip_member(layer("files/disk.img", small_disk())));
  shop.add("inner.tar", layer("disk/disk.img", small_disk()));
  for (const char* name : {"inner.tar.gz", "inner.tar"}) {
    for (unsigned answers : {0u, kAlways}) {
      const Taken taken = take(shop.tar({name}), 0, answers);
      EXPECT_EQ(taken.code, code::kUnsupportedFormat) << name;
      EXPECT_TRUE(mentions(taken, name)) << taken.message;
    }
  }
  shop.add("disk.img", small_disk());
  EXPECT_EQ(take(shop.tar({"inner.tar", "disk.img"})).code, code::kSeveralDisks)
      << "a pipe has met the one within before the other";
  EXPECT_EQ(take(shop.tar({"inner.tar", "disk.img"}), 0, kAlways).code, "");
  EXPECT_EQ(take(shop.tar({"inner.tar.gz", "disk.img", "inner.tar"})).code, "");
}

TEST(ContainerArchive, DamageWithinALayerIsFound) {
  std::vector<uint8_t> blob = gzip_member(layer("disk/disk.img", small_disk()));
  blob[blob.size() - 6] ^= 1;
  EXPECT_EQ(take(oci_archive({blob})).code, code::kCorruptCompression);
}

}  // namespace
}  // namespace dvcr::test
