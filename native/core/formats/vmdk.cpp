#include "vmdk.h"

#include <algorithm>
#include <array>

#include "vmdk_grain.h"
#include "vmdk_lookahead.h"
#include "vmdk_stream.h"

namespace dvcr {
namespace {

std::string num(uint64_t value) {
  return std::to_string(value);
}

/// Emits the grains that the tables name, in guest order, and claims each place that it reads.
class GrainEmitter {
 public:
  GrainEmitter(ImageReader& reader, const VmdkHeader& header, const GrainTables& tables, ExtentSink& sink)
      : reader_(reader),
        header_(header),
        tables_(tables),
        sink_(sink),
        grains_(reader, header, sink),
        zeros_(sink),
        plain_claims_(tables.alignment_bits(), reader.limits().max_metadata),
        packed_claims_(reader.limits().max_metadata) {}

  void run() {
    const uint64_t table_size = header_.grain_bytes() * kGrainsPerTable;
    for (uint64_t index = 0; index < header_.tables(); ++index) {
      const GrainTable* table = tables_.table(index);
      if (table == nullptr) {
        zeros_.add(std::min(table_size, header_.virtual_size() - index * table_size));
      } else {
        emit_table(index, *table);
      }
    }
    zeros_.flush();
  }

 private:
  void emit_table(uint64_t index, const GrainTable& table) {
    const uint64_t grain = header_.grain_bytes();
    uint64_t guest = index * kGrainsPerTable * grain;
    for (size_t i = 0; i < kGrainsPerTable && guest < header_.virtual_size();) {
      size_t count = run_length(table, i);
      uint64_t length = std::min(count * grain, header_.virtual_size() - guest);
      if (tables_.reads_as_zero(table[i])) {
        zeros_.add(length);
      } else {
        zeros_.flush();
        uint64_t host = table[i] * kSector;
        header_.compressed() ? emit_packed(host, guest, length) : emit_plain(host, count * grain, length);
      }
      guest += count * grain;
      i += count;
    }
  }

  // Entries from `first` on that are zero alike, or whose grains follow each other in the file.
  [[nodiscard]] size_t run_length(const GrainTable& table, size_t first) const {
    bool zero = tables_.reads_as_zero(table[first]);
    if (!zero && header_.compressed()) return 1;
    size_t count = 1;
    for (; first + count < kGrainsPerTable; ++count) {
      uint32_t entry = table[first + count];
      if (zero ? !tables_.reads_as_zero(entry) : entry != table[first] + count * header_.grain_sectors) break;
    }
    return count;
  }

  void emit_plain(uint64_t host, uint64_t stored, uint64_t length) {
    plain_claims_.claim(host, stored, Use::kData);
    while (length > 0) {
      MutableBytes room = sink_.reserve(static_cast<size_t>(length));
      reader_.read_at(host, room, "a VMDK grain");
      sink_.commit(room.size());
      host += room.size();
      length -= room.size();
    }
  }

  void emit_packed(uint64_t host, uint64_t guest, uint64_t length) {
    packed_claims_.claim(host, kSector);
    VmdkMarker marker = grains_.read_marker(host);
    if (marker.size == 0 || marker.number != guest / kSector) {
      throw Error(code::kCorruptImage, "the VMDK grain at byte " + num(host) + " is marked for guest sector " +
                                           num(marker.number) + ", its table says " + num(guest / kSector));
    }
    if (tables_.metadata().overlaps(host, grains_.stored_bytes())) {
      throw Error(code::kOverlap, "the VMDK grain at byte " + num(host) + " runs into metadata");
    }
    packed_claims_.claim(host + kSector, grains_.stored_bytes() - kSector);
    grains_.emit(static_cast<size_t>(length));
  }

  ImageReader& reader_;
  const VmdkHeader& header_;
  const GrainTables& tables_;
  ExtentSink& sink_;
  VmdkGrains grains_;
  ZeroRun zeros_;
  ClusterClaims plain_claims_;
  ByteClaims packed_claims_;
};

[[noreturn]] void refuse_slice() {
  throw Error(code::kMultiFile, "the VMDK has no descriptor: it is one slice of a disk split into several files");
}

[[noreturn]] void refuse_descriptor_file(ImageReader& reader, std::vector<uint8_t> text) {
  size_t have = text.size();
  text.resize(kMaxVmdkDescriptor + 1);
  if (have == kSector) have += reader.read_some_at(have, MutableBytes(text).subspan(have));
  text.resize(have);
  auto end = static_cast<size_t>(std::find(text.begin(), text.end(), uint8_t{0}) - text.begin());
  Bytes behind = Bytes(text).subspan(std::min(end + kMaxVmdkLeftover, text.size()));
  if (text.size() > kMaxVmdkDescriptor || !is_zero(behind)) {
    throw Error(code::kAmbiguous, "the file begins as a VMDK descriptor and goes on as something else");
  }
  refuse_unless_one_file(parse_vmdk_descriptor(text));
  throw Error(code::kExternalData, "this is only the descriptor of a VMDK; send the file with the data that it names");
}

}  // namespace

VmdkImage::VmdkImage(ImageReader& reader, Bytes first_sector) : reader_(reader) {
  if (first_sector.size() < kSector) {
    throw Error(code::kTruncated, "the file ends within the VMDK header, at byte " + num(first_sector.size()));
  }
  header_ = parse_vmdk_header(first_sector);
  VmdkDescriptor descriptor = read_descriptor();
  check_vmdk_descriptor(header_, descriptor);
  check_vmdk_geometry(header_, reader_.limits());
  info_.format = "vmdk";
  info_.virtual_size = header_.virtual_size();
  info_.cluster_size = header_.grain_bytes();
  info_.specific = {{"cid", uint64_t{descriptor.cid}},
                    {"parent-cid", uint64_t{descriptor.parent_cid}},
                    {"create-type", descriptor.create_type}};
  std::vector<Field> extent;
  if (header_.compressed()) extent.push_back({"compressed", true});
  extent.push_back({"virtual-size", header_.virtual_size()});
  extent.push_back({"cluster-size", header_.grain_bytes()});
  extent.push_back({"format", std::string()});
  info_.specific.push_back({"extents", FieldRows{std::move(extent)}});
  if (header_.unclean_shutdown) info_.warnings.emplace_back("the VMDK was not closed cleanly by its last writer");
  uint64_t described = descriptor.extents.front().sectors;
  if (described != header_.capacity) {
    info_.warnings.push_back("the VMDK's descriptor says " + num(described) + " sectors, its header " +
                             num(header_.capacity) + ", which counts");
  }
}

VmdkDescriptor VmdkImage::read_descriptor() {
  if (header_.descriptor_offset == 0 || header_.descriptor_sectors == 0) refuse_slice();
  if (header_.descriptor_offset != 1 || header_.descriptor_sectors > kMaxVmdkDescriptor / kSector) {
    throw Error(code::kCorruptImage, "the VMDK's descriptor is at sector " + num(header_.descriptor_offset) +
                                         " and has " + num(header_.descriptor_sectors) + " sectors");
  }
  std::vector<uint8_t> text(static_cast<size_t>(header_.descriptor_sectors * kSector));
  reader_.read_at(kSector, text, "the VMDK descriptor");
  // qemu-img leaves room for a descriptor in each slice.
  if (is_zero(text)) refuse_slice();
  return parse_vmdk_descriptor(text);
}

void VmdkImage::convert(ExtentSink& sink) {
  if (!header_.tables_at_end()) return convert_by_tables(header_, sink);
  RangeReader* file = reader_.stream().ranges();
  std::optional<VmdkHeader> footer;
  if (file != nullptr) footer = out_of_order_footer(*file, header_, reader_.limits());
  if (footer) return convert_by_tables(*footer, sink);
  VmdkStream(reader_, header_, sink).run();
}

void VmdkImage::convert_by_tables(const VmdkHeader& header, ExtentSink& sink) {
  GrainTables tables(reader_, header);
  GrainEmitter(reader_, header, tables, sink).run();
}

bool probe_vmdk(Bytes head) {
  return is_vmdk_sparse(head) || is_vmdk_descriptor(head);
}

std::unique_ptr<DiskImage> open_vmdk(ImageReader& reader) {
  std::vector<uint8_t> head(kSector);
  head.resize(reader.read_some_at(0, head));
  if (is_vmdk_sparse(head)) return std::make_unique<VmdkImage>(reader, head);
  refuse_descriptor_file(reader, std::move(head));
}

}  // namespace dvcr
