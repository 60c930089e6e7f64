// gzip members by ISA-L level 1, whose output is the same from SSE4.2 to AVX-512; other CPUs get libdeflate level 1
// under an encoder id of its own. ISA-L only ever compresses here: it sees no bytes as a compressed stream.
#include <isa-l.h>
#include <libdeflate.h>

#include <array>
#include <new>

#include "../codec.h"
#include "frame_encoder.h"

namespace dvcr {
namespace {

// RFC 1952: deflate, no flags, no time, no extra flags, unknown OS.
constexpr std::array<uint8_t, kWrapBefore> kHeader = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF};

void store_le32(uint8_t* at, uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(value >> (8 * i));
}

void write_trailer(uint8_t* at, Bytes plain) {
  store_le32(at, crc32(0, plain));
  store_le32(at + 4, static_cast<uint32_t>(plain.size()));
}

// Length of `size` bytes in stored blocks (RFC 1951 3.2.4), which no frame exceeds.
size_t stored_size(size_t size) {
  return size + 5 * std::max<size_t>(1, div_ceil(size, 65535));
}

class GzipEncoder : public FrameEncoder {
 public:
  void append(Bytes raw, Buffer& out) override {
    const size_t start = out.size();
    const MutableBytes room = out.extend(kHeader.size() + stored_size(raw.size()) + kWrapAfter);
    std::copy(kHeader.begin(), kHeader.end(), room.begin());
    const size_t size = deflate(raw, room.subspan(kHeader.size(), stored_size(raw.size())));
    write_trailer(room.data() + kHeader.size() + size, raw);
    out.truncate(start + kHeader.size() + size + kWrapAfter);
  }

  Bytes wrap(UnitCodec codec, MutableBytes slot, size_t consumed, Bytes plain) override {
    if (codec == UnitCodec::kZstd) return {};
    // RFC 1950: two bytes before and an Adler-32 after the deflate stream.
    const size_t skip = codec == UnitCodec::kZlib ? 2 : 0;
    const size_t size = consumed - (codec == UnitCodec::kZlib ? 6 : 0);
    if (size >= plain.size()) return {};
    const MutableBytes frame = slot.subspan(skip, kHeader.size() + size + kWrapAfter);
    std::copy(kHeader.begin(), kHeader.end(), frame.begin());
    write_trailer(frame.data() + kHeader.size() + size, plain);
    return frame;
  }

  void decode(Bytes frame, MutableBytes raw) override {
    if (frame.size() < kHeader.size() + kWrapAfter) throw_damaged(frame);
    decode_whole(UnitCodec::kDeflate, frame.subspan(kHeader.size(), frame.size() - kHeader.size() - kWrapAfter), raw);
    if (le32(frame, frame.size() - kWrapAfter) != crc32(0, raw)) throw_damaged(frame);
  }

 protected:
  /// Raw deflate of `raw`, stored blocks where it does not shrink; returns its length.
  virtual size_t deflate(Bytes raw, MutableBytes room) = 0;
};

// ISA-L's level 1 (2.30; SSE4.2, AVX and AVX2 alike) files the third byte of its input under the hash of the stream's
// own address, bits 16 to 47, where it means the hash of that byte and the next three. The entry shows in the result
// only where that hash is also the one of the content at byte 0, 1 or 2, whose entry it then takes or gives: one frame
// in 1400 or so. So the stream is placed where the hashes differ, and the result is the same at any address.
class PlacedStream {
 public:
  /// A stream as after isal_deflate_stateless_init(), for `raw` only.
  isal_zstream& for_content(Bytes raw) {
    for (size_t step = 0; step < kPlaces; ++step) {
      uint8_t* const place = room_.get() + step * kStep;
      if (is_clear_of(reinterpret_cast<uintptr_t>(place), raw)) {
        auto* const stream = ::new (place) isal_zstream{};
        isal_deflate_stateless_init(stream);
        return *stream;
      }
    }
    throw Error(code::kInternal, "no place for ISA-L's stream is clear of the content's hashes");
  }

 private:
  static constexpr size_t kStep = 64 * kKiB;  // the least that changes the hash
  // ISA-L keeps this many bits of a hash, or more: what differs in fewer differs there too.
  static constexpr uint32_t kHashMask = 0xFFF;
  // Three hashes are to be avoided, and two places may share one.
  static constexpr size_t kPlaces = 8;

  static uint32_t hash(uint32_t four_bytes) {
    std::array<uint8_t, 4> bytes{};
    store_le32(bytes.data(), four_bytes);
    return crc32_iscsi(bytes.data(), 4, 0) & kHashMask;
  }

  static bool is_clear_of(uintptr_t place, Bytes raw) {
    if (raw.size() < 6) return true;
    const uint32_t taken = hash(static_cast<uint32_t>(place >> 16));
    return taken != hash(le32(raw, 0)) && taken != hash(le32(raw, 1)) && taken != hash(le32(raw, 2));
  }

  // Only the pages of places in use take memory.
  std::unique_ptr<uint8_t[]> room_ =
      std::make_unique_for_overwrite<uint8_t[]>((kPlaces - 1) * kStep + sizeof(isal_zstream));
};

class IsalGzipEncoder final : public GzipEncoder {
 protected:
  // The stateless call falls back to stored blocks by itself when the result does not fit in as much room as they
  // would take, so the room is part of what decides the bytes; so is the size of the level buffer.
  size_t deflate(Bytes raw, MutableBytes room) override {
    isal_zstream& stream = streams_.for_content(raw);
    stream.level = 1;
    stream.level_buf = level_buffer_.data();
    stream.level_buf_size = static_cast<uint32_t>(level_buffer_.size());
    stream.gzip_flag = IGZIP_DEFLATE;
    stream.end_of_stream = 1;
    stream.next_in = const_cast<uint8_t*>(raw.data());  // never written to
    stream.avail_in = static_cast<uint32_t>(raw.size());
    stream.next_out = room.data();
    stream.avail_out = static_cast<uint32_t>(room.size());
    const int result = isal_deflate_stateless(&stream);
    if (result != COMP_OK || stream.avail_in != 0) {
      throw Error(code::kInternal, "ISA-L failed with " + std::to_string(result) + " on a frame of " +
                                       std::to_string(raw.size()) + " bytes");
    }
    return stream.total_out;
  }

 private:
  PlacedStream streams_;
  std::array<uint8_t, ISAL_DEF_LVL1_DEFAULT> level_buffer_{};
};

struct FreeCompressor {
  void operator()(libdeflate_compressor* context) const { libdeflate_free_compressor(context); }
};

class LibdeflateGzipEncoder final : public GzipEncoder {
 protected:
  size_t deflate(Bytes raw, MutableBytes room) override {
    for (const auto& context : {fast_.get(), stored_.get()}) {
      if (context == nullptr) throw std::bad_alloc();
      const size_t size = libdeflate_deflate_compress(context, raw.data(), raw.size(), room.data(), room.size());
      if (size != 0) return size;
    }
    throw Error(code::kInternal, "libdeflate failed on a frame of " + std::to_string(raw.size()) + " bytes");
  }

 private:
  std::unique_ptr<libdeflate_compressor, FreeCompressor> fast_{libdeflate_alloc_compressor(1)};
  std::unique_ptr<libdeflate_compressor, FreeCompressor> stored_{libdeflate_alloc_compressor(0)};
};

bool isal_is_stable_here() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") != 0;
#else
  return false;
#endif
}

}  // namespace

std::unique_ptr<FrameEncoder> make_gzip_encoder() {
  if (isal_is_stable_here()) return std::make_unique<IsalGzipEncoder>();
  return std::make_unique<LibdeflateGzipEncoder>();
}

std::string gzip_encoder_id() {
  if (!isal_is_stable_here()) return std::string("gzip:libdeflate-" LIBDEFLATE_VERSION_STRING ":1:") + kGzipRules;
  return "gzip:isal-" + std::to_string(ISAL_MAJOR_VERSION) + "." + std::to_string(ISAL_MINOR_VERSION) + "." +
         std::to_string(ISAL_PATCH_VERSION) + ":1:" + kGzipRules;
}

}  // namespace dvcr
