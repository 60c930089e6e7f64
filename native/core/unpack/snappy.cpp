// Snappy's framing format (google/snappy, framing_format.txt): chunks of at most 64 KiB, each with its own CRC-32C.
// The blocks within are libsnappy's. The format has no end mark, so an input cut between two chunks cannot be told.
#include <snappy-c.h>

#include <algorithm>
#include <vector>

#include "../formats/crc32c.h"
#include "decoder.h"

namespace dvcr {
namespace {

constexpr size_t kHeader = 4;  // type and a 24-bit length
constexpr size_t kChecksum = 4;
constexpr size_t kMostPlain = 64 * kKiB;
constexpr uint8_t kCompressed = 0x00;
constexpr uint8_t kPlain = 0x01;
constexpr uint8_t kFirstSkippable = 0x80;  // below it and above kPlain: reserved, not to be skipped
constexpr uint8_t kIdentifier = 0xff;
constexpr std::string_view kIdentity = "sNaPpY";

/// The checksum as it is stored: rotated and offset, so that checksums of checksums stay useful (section 3).
uint32_t masked_crc(Bytes plain) {
  Crc32c crc;
  crc.add(plain);
  uint32_t value = crc.value();
  return ((value >> 15) | (value << 17)) + 0xa282ead8U;
}

class SnappyDecoder final : public Decoder {
 public:
  explicit SnappyDecoder(PrefixSource& inner)
      : Decoder(Compression::kSnappy, inner),
        most_packed_(kChecksum + snappy_max_compressed_length(kMostPlain)),
        plain_(kMostPlain) {}

 protected:
  void begin(PrefixSource&) override {}

  Step step(Bytes in, MutableBytes out) override {
    if (given_ < held_) return {0, give(out), false};
    if (skip_ > 0) {
      auto skipped = static_cast<size_t>(std::min<uint64_t>(skip_, in.size()));
      skip_ -= skipped;
      return {skipped, 0, false};
    }
    if (in.empty()) return {0, 0, chunk_.empty()};
    size_t consumed = gather(in, kHeader);
    if (chunk_.size() < kHeader) return {consumed, 0, false};
    const size_t length = le32(chunk_, 0) >> 8;
    if (!check_header(chunk_[0], length)) return {consumed, 0, false};
    if (skip_ == 0) {
      consumed += gather(in.subspan(consumed), kHeader + length);
      if (chunk_.size() < kHeader + length) return {consumed, 0, false};
      unpack(Bytes(chunk_).subspan(kHeader));
    }
    chunk_.clear();
    return {consumed, give(out), false};
  }

 private:
  /// Moves bytes of `in` into the chunk until it has `want`; gives how many.
  size_t gather(Bytes in, size_t want) {
    const size_t take = std::min(in.size(), want - std::min(want, chunk_.size()));
    chunk_.insert(chunk_.end(), in.begin(), in.begin() + static_cast<std::ptrdiff_t>(take));
    return take;
  }

  /// False when the chunk cannot be one. What may be skipped is not gathered.
  bool check_header(uint8_t type, size_t length) {
    const bool data = type == kCompressed || type == kPlain;
    if (type == kIdentifier && length != kIdentity.size()) {
      fail_damaged("stream identifier of " + std::to_string(length) + " bytes");
    } else if (data && (length < kChecksum || length > (type == kPlain ? kChecksum + kMostPlain : most_packed_))) {
      fail_damaged("chunk of " + std::to_string(length) + " bytes");
    } else if (type > kPlain && type < kFirstSkippable) {
      fail_damaged("chunk of the reserved type " + std::to_string(type));
    } else {
      if (!data && type != kIdentifier) skip_ = length;
      return true;
    }
    return false;
  }

  void unpack(Bytes body) {
    if (chunk_[0] == kIdentifier) {
      if (!std::equal(body.begin(), body.end(), kIdentity.begin())) fail_damaged("wrong stream identifier");
      return;
    }
    // A skippable chunk of no bytes comes here too: there is nothing to skip.
    if (chunk_[0] != kCompressed && chunk_[0] != kPlain) return;
    Bytes packed = body.subspan(kChecksum);
    size_t length = packed.size();
    if (chunk_[0] == kPlain) {
      std::copy(packed.begin(), packed.end(), plain_.begin());
    } else {
      const char* from = reinterpret_cast<const char*>(packed.data());
      if (snappy_uncompressed_length(from, packed.size(), &length) != SNAPPY_OK || length > kMostPlain) {
        fail_damaged("chunk without a sound length");
        return;
      }
      size_t room = plain_.size();
      if (snappy_uncompress(from, packed.size(), reinterpret_cast<char*>(plain_.data()), &room) != SNAPPY_OK) {
        fail_damaged("wrong data");
        return;
      }
    }
    if (masked_crc(Bytes(plain_).first(length)) != le32(body, 0)) {
      fail_damaged("wrong checksum of a chunk");
      return;
    }
    given_ = 0;
    held_ = length;
  }

  size_t give(MutableBytes out) {
    const size_t count = std::min(out.size(), held_ - given_);
    std::copy_n(plain_.begin() + static_cast<std::ptrdiff_t>(given_), count, out.begin());
    given_ += count;
    return count;
  }

  const size_t most_packed_;
  std::vector<uint8_t> chunk_;  // header and body as far as they came
  std::vector<uint8_t> plain_;  // bytes [given_, held_) are unpacked and not handed out
  size_t given_ = 0;
  size_t held_ = 0;
  uint64_t skip_ = 0;
};

}  // namespace

std::unique_ptr<Unpacker> make_snappy_decoder(PrefixSource& inner) {
  return std::make_unique<SnappyDecoder>(inner);
}

}  // namespace dvcr
