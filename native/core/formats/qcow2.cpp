#include "formats/qcow2.h"

#include <algorithm>

#include "codec.h"
#include "formats/qcow2_header.h"
#include "formats/qcow2_refcounts.h"
#include "formats/shared_sectors.h"

namespace dvcr {

namespace {

constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr uint64_t kCopied = uint64_t{1} << 63;
constexpr uint64_t kZeroFlag = 1;
constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
constexpr unsigned kSubclusters = 32;
constexpr uint64_t kSector = 512;

/// L2 tables are not kept, so memory does not bound their number; this many times the metadata limit does. At the
/// default it is 16 GiB of tables: 128 TiB of disk in clusters of 64 KiB.
constexpr uint64_t kTableBytesFactor = 64;

class Qcow2Image final : public DiskImage, private UnitObserver {
 public:
  explicit Qcow2Image(ImageReader& reader)
      : reader_(reader),
        header_(read_qcow2_header(reader)),
        info_(describe_qcow2(header_, reader.stream().ranges())),
        clusters_(header_.cluster_bits, reader.limits().max_metadata),
        units_(reader.limits().max_metadata),
        sectors_(reader, units_) {}

  [[nodiscard]] const DiskInfo& info() const override { return info_; }

  void convert(ExtentSink& sink) override {
    sink_ = &sink;
    claim_fixed_tables();
    std::vector<uint8_t> l1 = read_l1();
    std::vector<uint8_t> table(header_.cluster_size());
    for (uint64_t index = 0; index < header_.l1_needed(); ++index) {
      uint64_t guest = index * header_.table_coverage();
      uint64_t entry = be64(l1, index * 8);
      uint64_t offset = entry & kOffsetMask;
      if ((entry & ~(kCopied | kOffsetMask)) != 0) corrupt("reserved bits are set in the L1 entry", guest);
      if (offset == 0) {
        add_zeros(std::min(header_.table_coverage(), header_.virtual_size - guest));
        continue;
      }
      read_l2(offset, guest, table);
      walk_l2(table, guest);
    }
    flush();
  }

 private:
  [[noreturn]] static void corrupt(const char* what, uint64_t guest) {
    throw Error(code::kCorruptImage, std::string(what) + " of guest offset " + std::to_string(guest));
  }

  [[noreturn]] static void truncated(const char* what, uint64_t guest, uint64_t host) {
    throw Error(code::kTruncated, "the image ends before its " + std::string(what) + " of guest offset " +
                                      std::to_string(guest) + ", which should be at offset " + std::to_string(host));
  }

  void claim_fixed_tables() {
    fixed_.add(0, header_.cluster_size(), "the header");
    fixed_.add(header_.l1_offset, header_.l1_entries * 8, "the L1 table");
    fixed_.add(header_.refcount_offset, header_.refcount_length, "the refcount table");
    for (const FixedTables::Range& range : fixed_.ranges()) {
      clusters_.claim(range.offset, range.length, Use::kMetadata);
    }
    // Refcounts say nothing of the disk's content, but while their blocks are not known they have to be held as they
    // pass. A table behind the L1 would make us read past what is wanted now, so it is then left alone.
    std::optional<uint64_t> total = reader_.size();
    bool within = !total || header_.refcount_offset + header_.refcount_length <= *total;
    if (within && (reader_.has_ranges() || header_.refcount_offset < header_.l1_offset)) {
      discard_refcount_blocks(reader_, header_, fixed_, clusters_);
    }
  }

  std::vector<uint8_t> read_l1() {
    std::vector<uint8_t> l1(header_.l1_needed() * 8);
    reader_.read_metadata_at(header_.l1_offset, l1, "the L1 table");
    // Entries of a part of the disk that was cut off.
    reader_.discard(header_.l1_offset + l1.size(), header_.l1_entries * 8 - l1.size());
    return l1;
  }

  void read_l2(uint64_t offset, uint64_t guest, std::vector<uint8_t>& table) {
    if (offset % header_.cluster_size() != 0) corrupt("the L2 table is misplaced", guest);
    fixed_.refuse_overlap(offset, "an L2 table");
    clusters_.claim(offset, header_.cluster_size(), Use::kMetadata);
    table_bytes_ += table.size();
    if (table_bytes_ / kTableBytesFactor > reader_.limits().max_metadata) {
      throw Error(code::kMetadataLimit, "the image has more than " + std::to_string(table_bytes_ - table.size()) +
                                            " bytes of L2 tables; rewrite it with larger clusters");
    }
    std::string what = "the L2 table of guest offset " + std::to_string(guest);
    // Extents that were found but not yet read stand before this table in a file written in order.
    flush();
    reader_.read_metadata_at(offset, table, what.c_str());
  }

  void walk_l2(Bytes table, uint64_t guest) {
    uint64_t cluster = header_.cluster_size();
    uint64_t end = std::min(guest + header_.table_coverage(), header_.virtual_size);
    for (uint64_t at = 0; guest < end; at += header_.entry_size(), guest += cluster) {
      uint64_t entry = be64(table, at);
      uint64_t length = std::min(cluster, header_.virtual_size - guest);
      if ((entry & kCompressed) != 0) {
        add_unit(entry, guest, length);
      } else if (header_.extended_l2) {
        add_subclusters(standard_offset(entry, guest, 0), be64(table, at + 8), guest, length);
      } else {
        uint64_t flags = header_.version >= 3 ? kZeroFlag : 0;
        uint64_t offset = standard_offset(entry, guest, flags);
        if (offset != 0) clusters_.claim(offset, cluster, Use::kData);
        if ((entry & kZeroFlag) != 0) {
          add_reserved_zeros(offset, length);
        } else if (offset == 0) {
          add_zeros(length);
        } else {
          add_data(offset, length);
        }
      }
    }
  }

  /// The place of an uncompressed cluster, 0 for none, after its reserved bits were found to be zero.
  [[nodiscard]] uint64_t standard_offset(uint64_t entry, uint64_t guest, uint64_t flags) const {
    if ((entry & ~(kCopied | kOffsetMask | flags)) != 0) corrupt("reserved bits are set in the L2 entry", guest);
    uint64_t offset = entry & kOffsetMask;
    if (offset % header_.cluster_size() != 0) corrupt("the cluster is misplaced", guest);
    return offset;
  }

  void add_subclusters(uint64_t offset, uint64_t bitmap, uint64_t guest, uint64_t length) {
    uint64_t allocated = bitmap & UINT32_MAX;
    if ((allocated & bitmap >> kSubclusters) != 0) corrupt("a subcluster is both zero and allocated: the one", guest);
    if (offset == 0 && allocated != 0) corrupt("a subcluster has no place: the one", guest);
    if (offset != 0) clusters_.claim(offset, header_.cluster_size(), Use::kData);
    if (allocated == 0) {
      add_reserved_zeros(offset, length);
      return;
    }
    uint64_t size = header_.cluster_size() / kSubclusters;
    for (unsigned i = 0; i < kSubclusters && i * size < length; ++i) {
      uint64_t piece = std::min(size, length - i * size);
      if ((allocated >> i & 1) != 0) {
        add_data(offset + i * size, piece);
      } else {
        add_reserved_zeros(offset + i * size, piece);
      }
    }
  }

  void add_unit(uint64_t entry, uint64_t guest, uint64_t length) {
    flush();
    unsigned count_bits = header_.cluster_bits - 8;
    unsigned count_shift = 62 - count_bits;
    uint64_t offset = entry & ((uint64_t{1} << count_shift) - 1);
    if (offset >> 56 != 0) corrupt("the compressed cluster is misplaced", guest);
    uint64_t sectors = (entry >> count_shift & ((uint64_t{1} << count_bits) - 1)) + 1;
    uint64_t packed = sectors * kSector - offset % kSector;
    std::optional<uint64_t> total = reader_.size();
    if (total && offset >= *total) truncated("compressed cluster", guest, offset);
    // Two clusters made of one unit are refused here, before the second finds its bytes gone; the rest of what the
    // unit uses is claimed once its decoder knows how much that is.
    units_.claim(offset, 1);
    clusters_.claim(offset, total ? std::min(packed, *total - offset) : packed, Use::kShared);
    MutableBytes room = sink_->reserve_unit(packed, header_.cluster_size());
    size_t got = sectors_.read(offset, room.first(packed));
    // Units are not padded, so the last sector may be cut by the end of the file. Where more is missing its decoder
    // knows whether the table only says too much.
    const bool short_of_sectors = packed - got >= kSector;
    if (got == 0 || (short_of_sectors && !is_whole(room.first(got)))) truncated("compressed cluster", guest, offset);
    CompressedUnit unit;
    unit.codec = header_.codec;
    unit.host_offset = offset;
    unit.packed_size = got;
    unit.unit_size = header_.cluster_size();
    unit.min_size = header_.cluster_size();
    unit.guest_size = length;
    unit.observer = this;
    sink_->commit_unit(unit);
    guest_ = guest + length;
  }

  [[nodiscard]] bool is_whole(Bytes packed) const {
    std::vector<uint8_t> cluster(header_.cluster_size());
    try {
      return decode_unit(header_.codec, packed, cluster).produced == cluster.size();
    } catch (const Error&) {
      return false;
    }
  }

  void unit_decoded(uint64_t host_offset, size_t consumed) override {
    if (consumed > 1) units_.claim(host_offset + 1, consumed - 1);
    sectors_.decoded(host_offset, consumed);
  }

  /// Zeros for which a place is set aside; what stands there is of no use.
  void add_reserved_zeros(uint64_t offset, uint64_t length) {
    if (offset != 0) reader_.discard(offset, length);
    add_zeros(length);
  }

  void add_zeros(uint64_t length) {
    if (data_length_ != 0) flush();
    zero_length_ += length;
  }

  void add_data(uint64_t offset, uint64_t length) {
    if (zero_length_ != 0 || (data_length_ != 0 && data_offset_ + data_length_ != offset)) flush();
    if (data_length_ == 0) data_offset_ = offset;
    data_length_ += length;
  }

  /// Emits the run of zeros or of data that was found last.
  void flush() {
    if (zero_length_ != 0) sink_->zero(zero_length_);
    guest_ += zero_length_;
    zero_length_ = 0;
    while (data_length_ != 0) {
      std::optional<uint64_t> total = reader_.size();
      if (total && data_offset_ >= *total) truncated("data", guest_, data_offset_);
      MutableBytes room = sink_->reserve(static_cast<size_t>(std::min<uint64_t>(data_length_, kMiB)));
      size_t got = reader_.read_some_at(data_offset_, room.first(std::min<uint64_t>(room.size(), data_length_)));
      if (got == 0) truncated("data", guest_, data_offset_);
      sink_->commit(got);
      guest_ += got;
      data_offset_ += got;
      data_length_ -= got;
    }
  }

  ImageReader& reader_;
  Qcow2Header header_;
  DiskInfo info_;
  FixedTables fixed_;
  ClusterClaims clusters_;
  ByteClaims units_;
  SharedSectors sectors_;
  ExtentSink* sink_ = nullptr;
  uint64_t table_bytes_ = 0;
  uint64_t guest_ = 0;  // all before it was emitted
  uint64_t zero_length_ = 0;
  uint64_t data_offset_ = 0;
  uint64_t data_length_ = 0;
};

}  // namespace

bool probe_qcow2(Bytes head) {
  return has_magic(head, 0, "QFI\xfb") && !(head.size() >= 8 && be32(head, 4) == 1);
}

std::unique_ptr<DiskImage> open_qcow2(ImageReader& reader) {
  return std::make_unique<Qcow2Image>(reader);
}

}  // namespace dvcr
