// A qcow2 image (version 3, 64 KiB clusters) written in one pass: what the disk has in its order, each L2 table behind
// its clusters, the L1 table and the refcounts at the end, the header last, so that a file that was not finished is
// none. Layout: qemu, docs/interop/qcow2.rst.
#include <algorithm>
#include <cstring>

#include "../hash.h"
#include "../import_limits.h"
#include "qcow2_pack.h"
#include "read_back.h"

namespace dvcr {
namespace {

constexpr unsigned kClusterBits = 16;
constexpr uint64_t kCluster = uint64_t{1} << kClusterBits;
constexpr uint64_t kEntries = kCluster / 8;      // of an L2 table, or of a cluster of the L1 table
constexpr uint64_t kRefcounts = kCluster / 2;    // of 16 bits in a refcount block
constexpr uint64_t kCopied = uint64_t{1} << 63;  // the cluster has one reference
constexpr uint64_t kCompressed = uint64_t{1} << 62;
constexpr unsigned kSizeShift = 62 - (kClusterBits - 8);  // of a compressed cluster's number of further sectors
constexpr uint64_t kSector = 512;
constexpr size_t kHeaderLength = 112;
constexpr size_t kBuffer = kMiB;

void store_be(uint8_t* at, uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) at[i] = static_cast<uint8_t>(value >> (8 * (width - 1 - i)));
}

class Qcow2Output final : public DiskOutput {
 public:
  Qcow2Output(int fd, uint64_t virtual_size, Qcow2Compression compression, bool verified)
      : file_(fd), least_(virtual_size), compression_(compression), buffer_(make_aligned(kBuffer)) {
    if (verified) digest_.emplace("sha256");
  }

  [[nodiscard]] bool in_order() const override { return true; }
  [[nodiscard]] uint64_t hole() const override { return kCluster; }

  void begin(std::optional<uint64_t> size) override {
    size_ = size;
    // The header's place.
    append_zeros(kCluster);
    count(0, 1);
  }

  std::vector<PackedCluster> pack(uint64_t offset, Bytes content) override {
    std::vector<PackedCluster> clusters;
    if (compression_ == Qcow2Compression::kNone) return clusters;
    for (size_t at = 0; at < content.size(); at += kCluster) {
      // The disk's last cluster is packed whole, and what stands behind its end are zeros.
      const size_t size = std::min<size_t>(kCluster, content.size() - at);
      if (is_zero(content.subspan(at, size))) continue;
      clusters.push_back({offset + at, pack_cluster(content.subspan(at, size))});
    }
    return clusters;
  }

  void write(uint64_t offset, Bytes bytes, const std::vector<PackedCluster>& packed) override {
    naming_need(offset, [&] { write_clusters(offset, bytes, packed); });
  }

  void zeros(uint64_t, uint64_t) override {}

  void finish(uint64_t size) override {
    // qemu counts in sectors: a piece of one at the end would be cut off.
    size = div_ceil(std::max(size, least_), kSector) * kSector;
    naming_need(size, [&] { write_tables(size); });
  }

  // Of the file: what its clusters hold was checked as they were packed.
  void verify(uint64_t, const std::string&) override {
    const AlignedBuffer head = make_aligned(kCluster);
    if (file_.read(0, {head.get(), kCluster}) < kCluster || std::memcmp(head.get(), header_.data(), kCluster) != 0) {
      throw Error(code::kDiskReadBack, "its header is not as it was written");
    }
    check_back(file_, kCluster, end_, digest_->finish(), cancelled_);
  }

  void cancel() override { cancelled_ = true; }
  [[nodiscard]] uint64_t written() const override { return file_.written(); }

 private:
  void write_tables(uint64_t size) {
    write_l2();
    align_to_cluster();
    // As large as a virtual size asks for, whatever of it has data.
    l1_.resize(static_cast<size_t>(div_ceil(size, kCluster * kEntries)));
    const uint64_t l1_offset = end_;
    append_table(l1_);
    const auto [table_offset, table_clusters] = write_refcounts();
    flush(true);
    file_.truncate(end_);
    file_.sync();
    write_header(size, l1_offset, table_offset, table_clusters);
    file_.sync();
  }

  /// Runs `body`, which writes what the disk has at `offset`; where there is no room its error says how much is needed.
  template <typename Body>
  void naming_need(uint64_t offset, Body&& body) {
    try {
      body();
    } catch (const Error& error) {
      if (error.code() != code::kDiskFull) throw;
      throw Error(code::kDiskFull, std::string(error.what()) + "; the file needs up to " +
                                       std::to_string(most_bytes(offset)) + " bytes");
    }
  }

  void write_clusters(uint64_t offset, Bytes bytes, const std::vector<PackedCluster>& packed) {
    for (size_t at = 0; at < bytes.size(); at += kCluster) {
      const Bytes content = bytes.subspan(at, std::min<size_t>(kCluster, bytes.size() - at));
      const uint64_t guest = offset + at;
      const auto found = std::find_if(packed.begin(), packed.end(), [guest](const PackedCluster& cluster) {
        return cluster.offset == guest && !cluster.packed.empty();
      });
      set_entry(guest / kCluster, found == packed.end() ? write_cluster(content) : write_packed(found->packed));
    }
  }

  /// What the file can have at most, if all of the disk from `offset` on is data.
  [[nodiscard]] uint64_t most_bytes(uint64_t offset) const {
    const uint64_t size = std::max(size_.value_or(offset), offset);
    const uint64_t tables =
        div_ceil(std::max(size, least_), kCluster * kEntries) + div_ceil(size, kCluster * kRefcounts);
    constexpr uint64_t kOther = 8;  // the header, the first-level table, the refcount table, and a full cluster each
    return end_ + (size - offset) + (tables + kOther) * kCluster;
  }

  std::vector<uint8_t> pack_cluster(Bytes content) {
    std::vector<uint8_t> whole;
    if (content.size() < kCluster) {
      whole.assign(content.begin(), content.end());
      whole.resize(kCluster);
      content = whole;
    }
    // One sector less: what saves nothing is better read as it is.
    std::vector<uint8_t> packed(kCluster - kSector);
    packed.resize(compression_ == Qcow2Compression::kZlib ? deflate_cluster(content, packed)
                                                          : zstd_cluster(content, packed));
    return packed;
  }

  uint64_t write_cluster(Bytes content) {
    align_to_cluster();
    const uint64_t at = end_;
    append(content);
    append_zeros(kCluster - content.size());
    count(at / kCluster, 1);
    return at | kCopied;
  }

  uint64_t write_packed(Bytes packed) {
    const uint64_t at = end_;
    append(packed);
    // Sectors beyond the one that it begins in.
    const uint64_t sectors = (at + packed.size() - 1) / kSector - at / kSector;
    for (uint64_t cluster = at / kCluster; cluster <= (at + packed.size() - 1) / kCluster; ++cluster) count(cluster, 1);
    return at | sectors << kSizeShift | kCompressed;
  }

  void set_entry(uint64_t cluster, uint64_t entry) {
    const uint64_t table = cluster / kEntries;
    if (table != l2_index_) write_l2();
    l2_index_ = table;
    l2_.resize(kEntries);
    l2_[static_cast<size_t>(cluster % kEntries)] = entry;
  }

  void write_l2() {
    if (l2_.empty()) return;
    align_to_cluster();
    if (l1_.size() <= l2_index_) l1_.resize(static_cast<size_t>(l2_index_) + 1);
    l1_[static_cast<size_t>(l2_index_)] = end_ | kCopied;
    append_table(l2_);
    l2_.clear();
  }

  /// Big-endian entries at the end of the file, in whole clusters.
  void append_table(const std::vector<uint64_t>& entries) {
    const uint64_t at = end_;
    std::vector<uint8_t> bytes(entries.size() * 8);
    for (size_t i = 0; i < entries.size(); ++i) store_be(bytes.data() + i * 8, entries[i], 8);
    append(bytes);
    align_to_cluster();
    for (uint64_t cluster = at / kCluster; cluster < end_ / kCluster; ++cluster) count(cluster, 1);
  }

  /// The refcounts count themselves, so their number is found first. Returns the table's offset and clusters.
  std::pair<uint64_t, uint64_t> write_refcounts() {
    const uint64_t before = end_ / kCluster;
    uint64_t blocks = 0;
    uint64_t table = 0;
    for (;;) {
      const uint64_t need = div_ceil(before + blocks + table, kRefcounts);
      const uint64_t need_table = div_ceil(need, kEntries);
      if (need == blocks && need_table == table) break;
      blocks = need;
      table = need_table;
    }
    for (uint64_t cluster = before; cluster < before + blocks + table; ++cluster) count(cluster, 1);
    std::vector<uint64_t> entries;
    std::vector<uint8_t> block(kCluster);
    for (uint64_t i = 0; i < blocks; ++i) {
      entries.push_back(end_);
      for (uint64_t j = 0; j < kRefcounts; ++j) {
        const uint64_t cluster = i * kRefcounts + j;
        store_be(block.data() + j * 2, cluster < counts_.size() ? counts_[static_cast<size_t>(cluster)] : 0, 2);
      }
      append(block);
    }
    const uint64_t at = end_;
    std::vector<uint8_t> bytes(table * kCluster);
    for (size_t i = 0; i < entries.size(); ++i) store_be(bytes.data() + i * 8, entries[i], 8);
    append(bytes);
    return {at, table};
  }

  void write_header(uint64_t size, uint64_t l1_offset, uint64_t table_offset, uint64_t table_clusters) {
    constexpr uint64_t kMagic = 0x514649fb;
    const bool zstd = compression_ == Qcow2Compression::kZstd;
    std::memset(buffer_.get(), 0, kCluster);
    const auto put = [this](size_t at, uint64_t value, unsigned width) { store_be(buffer_.get() + at, value, width); };
    put(0, kMagic, 4);
    put(4, 3, 4);
    put(20, kClusterBits, 4);
    put(24, size, 8);
    put(36, l1_.size(), 4);
    put(40, l1_offset, 8);
    put(48, table_offset, 8);
    put(56, table_clusters, 4);
    put(72, zstd ? 8 : 0, 8);  // incompatible features, bit 3: a compression type stands at byte 104
    put(96, 4, 4);             // refcounts of 2^4 bits
    put(100, kHeaderLength, 4);
    put(104, zstd ? 1 : 0, 1);
    header_.assign(buffer_.get(), buffer_.get() + kCluster);
    file_.write(0, {buffer_.get(), kCluster});
  }

  void count(uint64_t cluster, uint16_t references) {
    if (counts_.size() <= cluster) counts_.resize(static_cast<size_t>(cluster) + 1);
    auto& counted = counts_[static_cast<size_t>(cluster)];
    counted = static_cast<uint16_t>(counted + references);
  }

  void align_to_cluster() { append_zeros((kCluster - end_ % kCluster) % kCluster); }

  void append(Bytes bytes) {
    while (!bytes.empty()) {
      const size_t take = std::min(bytes.size(), kBuffer - filled_);
      std::memcpy(buffer_.get() + filled_, bytes.data(), take);
      advance(take);
      bytes = bytes.subspan(take);
    }
  }

  void append_zeros(uint64_t length) {
    while (length > 0) {
      const auto take = static_cast<size_t>(std::min<uint64_t>(length, kBuffer - filled_));
      std::memset(buffer_.get() + filled_, 0, take);
      advance(take);
      length -= take;
    }
  }

  void advance(size_t count_bytes) {
    filled_ += count_bytes;
    end_ += count_bytes;
    if (filled_ == kBuffer) flush(false);
  }

  /// `last`: what is left is written too, in whole clusters.
  void flush(bool last) {
    if (last) align_to_cluster();
    if (filled_ == 0) return;
    const uint64_t at = end_ - filled_;
    file_.write(at, {buffer_.get(), filled_});
    const size_t skip = at < kCluster ? static_cast<size_t>(kCluster - at) : 0;
    if (digest_) digest_->update({buffer_.get() + skip, filled_ - skip});
    filled_ = 0;
  }

  DiskFile file_;
  uint64_t least_;
  std::optional<uint64_t> size_;  // of the content, where it is known
  Qcow2Compression compression_;
  AlignedBuffer buffer_;
  std::vector<uint8_t> header_;
  std::optional<Digest> digest_;  // of the file behind its first cluster, where it is read back
  std::atomic<bool> cancelled_ = false;
  size_t filled_ = 0;             // of the buffer, which is written at a multiple of its size
  uint64_t end_ = 0;              // of the file, what waits in the buffer included
  std::vector<uint16_t> counts_;  // references by cluster of the file
  std::vector<uint64_t> l1_;
  std::vector<uint64_t> l2_;  // the table being filled; empty before its first entry
  uint64_t l2_index_ = 0;
};

}  // namespace

std::unique_ptr<DiskOutput> make_qcow2_output(int fd, uint64_t virtual_size, Qcow2Compression compression,
                                              bool verified) {
  return std::make_unique<Qcow2Output>(fd, virtual_size, compression, verified);
}

}  // namespace dvcr
