// VMDK in one file (VMware "Virtual Disk Format 5.0"): monolithicSparse, and streamOptimized with its tables in front
// of the data (qemu, open-vmdk) or behind it (VMware, ovftool, VirtualBox). Everything else that is called VMDK is
// refused with what to do instead; no name found in a descriptor is ever opened.
#pragma once

#include "../disk_image.h"
#include "vmdk_header.h"
#include "vmdk_tables.h"

namespace dvcr {

/// A hosted sparse extent (is_vmdk_sparse). info() has `cid`, `parent-cid`, `create-type` and the one extent, as in
/// qemu-img's `format-specific`, but for the file's name, which is not known here.
class VmdkImage final : public DiskImage {
 public:
  /// Parses the header in `first_sector`, which was read already, and the descriptor behind it. Throws the codes of
  /// vmdk_header.h and vmdk_descriptor.h; kMultiFile for a slice of a split disk, which has no descriptor.
  VmdkImage(ImageReader& reader, Bytes first_sector);

  [[nodiscard]] const DiskInfo& info() const override { return info_; }
  /// Throws kAlias (a place used twice), kOverlap (data within metadata), kTruncated, kCorruptImage, kMetadataLimit,
  /// and for tables behind the data what VmdkStream::run() throws.
  void convert(ExtentSink& sink) override;

 private:
  VmdkDescriptor read_descriptor();
  void convert_by_tables(const VmdkHeader& header, ExtentSink& sink);

  ImageReader& reader_;
  VmdkHeader header_;
  DiskInfo info_;
};

/// True for a sparse extent and for a stand-alone descriptor file, which is recognised in order to be refused.
bool probe_vmdk(Bytes head);
/// Throws like VmdkImage(). A descriptor file is refused whatever it says, because its data is in other files: like
/// parse_vmdk_descriptor() and refuse_unless_one_file(), kAmbiguous when a disk's bytes follow, else kExternalData.
std::unique_ptr<DiskImage> open_vmdk(ImageReader& reader);

}  // namespace dvcr
