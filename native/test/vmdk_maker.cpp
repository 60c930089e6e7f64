#include "vmdk_maker.h"

#include <zlib.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "support.h"

namespace dvcr::test {
namespace {

constexpr size_t kSectorBytes = 512;
constexpr size_t kTableEntries = 512;
constexpr size_t kDescriptorSectors = 20;

std::vector<uint8_t> deflated(Bytes bytes) {
  uLongf size = compressBound(bytes.size());
  std::vector<uint8_t> packed(size);
  if (compress2(packed.data(), &size, bytes.data(), bytes.size(), 1) != Z_OK) throw std::runtime_error("zlib failed");
  packed.resize(size);
  return packed;
}

class Maker {
 public:
  Maker(Bytes disk, const VmdkSpec& spec, bool packed)
      : disk_(disk),
        spec_(spec),
        packed_(packed),
        grain_(spec.grain_sectors * kSectorBytes),
        grains_(div_ceil(disk.size(), grain_)),
        tables_(div_ceil(grains_, kTableEntries)),
        entries_(tables_ * kTableEntries) {
    order_ = spec.order;
    if (order_.empty()) {
      order_.resize(grains_);
      std::iota(order_.begin(), order_.end(), uint64_t{0});
    }
  }

  VmdkFile with_tables_in_front() {
    start();
    size_t redundant = 0;
    if (spec_.redundant && !packed_) redundant = reserve_tables(48);
    size_t directory = reserve_tables(56);
    file_.directory = directory;
    align(grain_);
    put_le(file_.bytes, 64, 8, file_.bytes.size() / kSectorBytes);
    for (uint64_t index : order_) add_grain(index);
    if (redundant != 0) write_tables(redundant);
    write_tables(directory);
    for (size_t t = 0; t < tables_; ++t) file_.tables.push_back(table_at(directory, t));
    return std::move(file_);
  }

  VmdkFile with_tables_behind() {
    start();
    put_le(file_.bytes, 56, 8, ~uint64_t{0});
    align(128 * kSectorBytes);
    put_le(file_.bytes, 64, 8, 128);
    std::vector<uint32_t> directory(tables_);
    for (size_t i = 0; i < order_.size(); ++i) {
      add_grain(order_[i]);
      size_t table = order_[i] / kTableEntries;
      bool last = i + 1 == order_.size() || order_[i + 1] / kTableEntries != table;
      if (last && !spec_.late_tables) add_table(table, directory);
    }
    for (size_t table = 0; spec_.late_tables && table < tables_; ++table) add_table(table, directory);
    marker(div_ceil(tables_ * 4, kSectorBytes), 2);
    file_.directory = file_.bytes.size();
    file_.bytes.resize(file_.directory + tables_ * 4);
    for (size_t t = 0; t < tables_; ++t) put_le(file_.bytes, file_.directory + t * 4, 4, directory[t]);
    align(kSectorBytes);
    marker(1, 3);
    file_.footer = file_.bytes.size();
    std::vector<uint8_t> header(file_.bytes.begin(), file_.bytes.begin() + kSectorBytes);
    put_le(header, 56, 8, file_.directory / kSectorBytes);
    file_.bytes.insert(file_.bytes.end(), header.begin(), header.end());
    file_.end = file_.bytes.size();
    marker(0, 0);
    return std::move(file_);
  }

  VmdkFile with_unmeasured_tables(size_t padding, bool twice) {
    start();
    put_le(file_.bytes, 4, 4, 3);
    put_le(file_.bytes, 8, 4, 0x30003);
    put_le(file_.bytes, 56, 8, ~uint64_t{0});
    put_le(file_.bytes, 64, 8, 1 + kDescriptorSectors);
    for (uint64_t index : order_) add_grain(index);
    file_.bytes.resize(file_.bytes.size() + padding * kSectorBytes);
    size_t redundant = 0;
    for (int set = twice ? 0 : 1; set < 2; ++set) {
      redundant = file_.directory;
      marker(0, 1);
      const size_t tables = file_.bytes.size();
      file_.tables.clear();
      for (size_t t = 0; t < tables_; ++t) {
        file_.tables.push_back(file_.bytes.size());
        file_.bytes.resize(file_.bytes.size() + kTableEntries * 4);
        write_table(file_.tables.back(), t);
      }
      marker(0, 2);
      file_.directory = file_.bytes.size();
      file_.bytes.resize(file_.directory + tables_ * 4);
      for (size_t t = 0; t < tables_; ++t) {
        put_le(file_.bytes, file_.directory + t * 4, 4, tables / kSectorBytes + t * 4);
      }
      align(kSectorBytes);
    }
    marker(0, 3);
    file_.footer = file_.bytes.size();
    std::vector<uint8_t> header(file_.bytes.begin(), file_.bytes.begin() + kSectorBytes);
    put_le(header, 48, 8, redundant / kSectorBytes);
    put_le(header, 56, 8, file_.directory / kSectorBytes);
    file_.bytes.insert(file_.bytes.end(), header.begin(), header.end());
    file_.end = file_.bytes.size();
    marker(0, 0);
    return std::move(file_);
  }

 private:
  void align(size_t to) { file_.bytes.resize(div_ceil(file_.bytes.size(), to) * to); }

  // The header without the tables' places, and the descriptor.
  void start() {
    uint64_t capacity = disk_.size() / kSectorBytes;
    std::vector<uint8_t>& out = file_.bytes;
    out.resize((1 + kDescriptorSectors) * kSectorBytes);
    std::copy_n("KDMV", 4, out.begin());
    uint64_t flags = 1u | (spec_.redundant && !packed_ ? 2u : 0u) | (spec_.zero_grains ? 4u : 0u);
    put_le(out, 4, 4, spec_.version);
    put_le(out, 8, 4, packed_ ? flags | 0x30000 : flags);
    put_le(out, 12, 8, capacity);
    put_le(out, 20, 8, spec_.grain_sectors);
    put_le(out, 28, 8, 1);
    put_le(out, 36, 8, kDescriptorSectors);
    put_le(out, 44, 4, kTableEntries);
    std::copy_n("\n \r\n", 4, out.begin() + 73);
    put_le(out, 77, 2, packed_ ? 1 : 0);
    std::string text = spec_.descriptor;
    if (text.empty()) {
      text = vmdk_descriptor(packed_ ? "streamOptimized" : "monolithicSparse", {sparse_extent(capacity)});
    }
    std::copy(text.begin(), text.end(), out.begin() + kSectorBytes);
  }

  size_t reserve_tables(size_t field) {
    size_t directory = file_.bytes.size();
    put_le(file_.bytes, field, 8, directory / kSectorBytes);
    file_.bytes.resize(table_at(directory, tables_));
    return directory;
  }
  [[nodiscard]] size_t table_at(size_t directory, size_t table) const {
    return directory + div_ceil(tables_ * 4, kSectorBytes) * kSectorBytes + table * kTableEntries * 4;
  }
  void write_tables(size_t directory) {
    for (size_t t = 0; t < tables_; ++t) {
      put_le(file_.bytes, directory + t * 4, 4, table_at(directory, t) / kSectorBytes);
      write_table(table_at(directory, t), t);
    }
  }
  void write_table(size_t at, size_t table) {
    for (size_t i = 0; i < kTableEntries; ++i) {
      put_le(file_.bytes, at + i * 4, 4, entries_[table * kTableEntries + i]);
    }
  }
  void add_table(size_t table, std::vector<uint32_t>& directory) {
    auto first = entries_.begin() + static_cast<std::ptrdiff_t>(table * kTableEntries);
    if (std::all_of(first, first + kTableEntries, [](uint32_t entry) { return entry == 0; })) return;
    marker(4, 1);
    size_t at = file_.bytes.size();
    file_.tables.push_back(at);
    file_.bytes.resize(at + kTableEntries * 4);
    write_table(at, table);
    directory[table] = static_cast<uint32_t>(at / kSectorBytes);
  }

  void add_grain(uint64_t index) {
    size_t from = static_cast<size_t>(index) * grain_;
    size_t length = std::min(grain_, disk_.size() - from);
    Bytes content = disk_.subspan(from, length);
    if (is_zero(content)) {
      entries_[static_cast<size_t>(index)] = spec_.zero_grains ? 1 : 0;
      return;
    }
    size_t at = file_.bytes.size();
    entries_[static_cast<size_t>(index)] = static_cast<uint32_t>(at / kSectorBytes);
    file_.grains.push_back(at);
    std::vector<uint8_t> grain(content.begin(), content.end());
    if (!packed_ || !spec_.short_last) grain.resize(grain_);
    if (packed_) {
      grain = deflated(grain);
      file_.bytes.resize(at + 12);
      put_le(file_.bytes, at, 8, index * spec_.grain_sectors);
      put_le(file_.bytes, at + 8, 4, grain.size());
    }
    file_.bytes.insert(file_.bytes.end(), grain.begin(), grain.end());
    align(kSectorBytes);
  }

  void marker(uint64_t sectors, uint32_t type) {
    size_t at = file_.bytes.size();
    file_.bytes.resize(at + kSectorBytes);
    put_le(file_.bytes, at, 8, sectors);
    put_le(file_.bytes, at + 12, 4, type);
  }

  Bytes disk_;
  VmdkSpec spec_;
  bool packed_;
  size_t grain_;
  size_t grains_;
  size_t tables_;
  std::vector<uint32_t> entries_;
  std::vector<uint64_t> order_;
  VmdkFile file_;
};

}  // namespace

std::string vmdk_descriptor(std::string_view create_type, const std::vector<std::string>& extents,
                            std::string_view parent_cid) {
  std::string text = "# Disk DescriptorFile\nversion=1\nCID=1a2b3c4d\nparentCID=" + std::string(parent_cid) +
                     "\ncreateType=\"" + std::string(create_type) + "\"\n\n# Extent description\n";
  for (const std::string& extent : extents) text += extent + "\n";
  return text + "\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.virtualHWVersion = \"14\"\n";
}

std::string sparse_extent(uint64_t sectors) {
  return "RW " + std::to_string(sectors) + " SPARSE \"disk.vmdk\"";
}

VmdkFile make_sparse_vmdk(Bytes disk, const VmdkSpec& spec) {
  return Maker(disk, spec, false).with_tables_in_front();
}

VmdkFile make_front_vmdk(Bytes disk, const VmdkSpec& spec) {
  return Maker(disk, spec, true).with_tables_in_front();
}

VmdkFile make_stream_vmdk(Bytes disk, const VmdkSpec& spec) {
  return Maker(disk, spec, true).with_tables_behind();
}

VmdkFile make_orchestra_vmdk(Bytes disk, size_t padding, bool twice) {
  std::string text = vmdk_descriptor("streamOptimized", {sparse_extent(disk.size() / kSectorBytes)});
  // Its identifier is a random number in decimal digits.
  const std::string hexadecimal = "CID=1a2b3c4d";
  text.replace(text.find(hexadecimal), hexadecimal.size(), "CID=4123456789");
  return Maker(disk, {.descriptor = text, .short_last = false}, true).with_unmeasured_tables(padding, twice);
}

}  // namespace dvcr::test
