#include "layer_fixture.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "hash.h"

namespace dvcr::test {
namespace {

Data text(size_t size, unsigned seed) {
  return make_data(size, seed, Look::kText);
}

// Octal digits of `value` up to the last byte of the field, which stays zero.
void put_octal(Data& header, size_t at, size_t width, uint64_t value) {
  for (size_t i = at + width - 1; i-- > at; value /= 8) header[i] = static_cast<uint8_t>('0' + value % 8);
}

Data pack_deflate(Bytes plain, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Data packed(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<uint8_t*>(plain.data());
  stream.avail_in = static_cast<unsigned>(plain.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<unsigned>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

Data unpack_gzip(Bytes layer, std::vector<size_t>* starts) {
  Data plain;
  Data piece(1u << 20);
  for (size_t at = 0; at < layer.size();) {
    if (starts != nullptr) starts->push_back(at);
    z_stream stream{};
    EXPECT_EQ(inflateInit2(&stream, 31), Z_OK);
    stream.next_in = const_cast<uint8_t*>(layer.data() + at);
    stream.avail_in = static_cast<unsigned>(layer.size() - at);
    int result = Z_OK;
    while (result == Z_OK) {
      stream.next_out = piece.data();
      stream.avail_out = static_cast<unsigned>(piece.size());
      result = inflate(&stream, Z_NO_FLUSH);
      plain.insert(plain.end(), piece.data(), stream.next_out);
    }
    at += stream.total_in;
    inflateEnd(&stream);
    EXPECT_EQ(result, Z_STREAM_END) << "member that ends at " << at;
    if (result != Z_STREAM_END) break;
  }
  return plain;
}

Data unpack_zstd(Bytes layer, std::vector<size_t>* starts) {
  Data plain;
  Data piece(1u << 20);
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_inBuffer in{layer.data(), layer.size(), 0};
  if (starts != nullptr) starts->push_back(0);
  while (in.pos < in.size) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    const size_t left = ZSTD_decompressStream(context, &out, &in);
    EXPECT_EQ(ZSTD_isError(left), 0u) << ZSTD_getErrorName(left);
    if (ZSTD_isError(left) != 0) break;
    plain.insert(plain.end(), piece.data(), piece.data() + out.pos);
    if (left == 0 && in.pos < in.size && starts != nullptr) starts->push_back(in.pos);
  }
  ZSTD_freeDCtx(context);
  return plain;
}

void give(LayerBuilder& builder, Bytes bytes, size_t most) {
  while (!bytes.empty()) {
    const MutableBytes room = builder.reserve(std::min(bytes.size(), most));
    std::copy_n(bytes.begin(), room.size(), room.begin());
    builder.commit(room.size());
    bytes = bytes.subspan(room.size());
  }
}

void give_unit(LayerBuilder& builder, const Disk::Step& step) {
  const MutableBytes room = builder.reserve_unit(step.packed.size() + 100, step.unit.unit_size);
  std::copy(step.packed.begin(), step.packed.end(), room.begin());
  builder.commit_unit(step.unit);
}

}  // namespace

Data make_data(size_t size, unsigned seed, Look look) {
  constexpr std::string_view kLetters = "etaoin shrdlu\nxy";
  std::mt19937_64 random(seed);
  Data bytes(size);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t value = random();
    for (unsigned shift = 0; shift < 64 && i + shift / 8 < size; shift += 8) {
      const auto byte = static_cast<uint8_t>(value >> shift);
      bytes[i + shift / 8] = look == Look::kRandom ? byte : static_cast<uint8_t>(kLetters[byte & 15 & (byte >> 4)]);
    }
  }
  return bytes;
}

Data pack(UnitCodec codec, Bytes plain) {
  if (codec != UnitCodec::kZstd) return pack_deflate(plain, codec == UnitCodec::kZlib ? 15 : -12);
  Data packed(ZSTD_compressBound(plain.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 3));
  return packed;
}

Disk& Disk::data(const Data& bytes) {
  steps_.push_back({Step::Kind::kData, content_.size(), bytes.size(), {}, {}});
  content_.insert(content_.end(), bytes.begin(), bytes.end());
  return *this;
}

Disk& Disk::zeros(size_t size) {
  steps_.push_back({Step::Kind::kZeros, content_.size(), size, {}, {}});
  content_.resize(content_.size() + size);
  return *this;
}

Disk& Disk::unit(UnitCodec codec, const Data& plain, size_t guest_size) {
  Step step{Step::Kind::kUnit, content_.size(), guest_size == 0 ? plain.size() : guest_size, {}, pack(codec, plain)};
  step.unit = {codec, 4096 + content_.size(), step.packed.size(), plain.size(), plain.size(), step.size, nullptr};
  content_.insert(content_.end(), plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(step.size));
  steps_.push_back(std::move(step));
  return *this;
}

Disk unpacked_mixed_disk() {
  Disk disk;
  disk.data(text(1536, 1)).zeros(64 * kKiB - 1536).data(text(2 * kMiB, 2)).zeros(300 * kKiB);
  disk.data(make_data(1700 * kKiB + 17, 3, Look::kRandom)).zeros(5 * kMiB - 17);
  disk.data(text(48 * kKiB, 4));  // now at a multiple of 64 KiB
  return disk;
}

Disk mixed_disk() {
  Disk disk = unpacked_mixed_disk();
  for (unsigned seed = 10; seed < 40; ++seed) {
    const UnitCodec codec = seed % 3 == 0 ? UnitCodec::kDeflate : seed % 3 == 1 ? UnitCodec::kZlib : UnitCodec::kZstd;
    disk.unit(codec, seed % 7 == 0 ? Data(64 * kKiB) : text(64 * kKiB, seed));
    if (seed % 8 == 0) disk.zeros(64 * kKiB);
  }
  for (unsigned seed = 40; seed < 56; ++seed) disk.unit(UnitCodec::kDeflate, text(4 * kKiB, seed));
  return disk.zeros(70 * kMiB).data(text(100001, 60)).zeros(3 * kMiB).data(text(777, 61));
}

void feed(LayerBuilder& builder, const Disk& disk, unsigned split) {
  std::mt19937 random(split);
  const Bytes content(disk.content());
  for (const Disk::Step& step : disk.steps()) {
    if (step.kind == Disk::Step::Kind::kUnit) {
      give_unit(builder, step);
      continue;
    }
    for (size_t done = 0; done < step.size;) {
      size_t size = step.size - done;
      if (split != 0) size = std::min<size_t>(size, 1 + random() % (random() % 4 == 0 ? 3 * kMiB : 40 * kKiB));
      const Bytes part = content.subspan(step.at + done, size);
      const bool as_data = split == 0 ? step.kind == Disk::Step::Kind::kData : !is_zero(part) || random() % 2 == 0;
      if (as_data) {
        give(builder, part, split == 0 ? kMiB : 1 + random() % kMiB);
      } else {
        builder.zero(size);
      }
      done += size;
    }
  }
}

void MemoryOutput::write(Bytes data) {
  bytes.insert(bytes.end(), data.begin(), data.end());
  if (on_write) on_write(bytes.size());
}

TarFrame tar_frame(uint64_t disk_size) {
  Data head(1024);
  std::memcpy(head.data(), "disk/", 5);
  std::memcpy(head.data() + 512, "disk/disk.img", 13);
  for (size_t at : {0, 512}) {
    Data header(head.begin() + static_cast<std::ptrdiff_t>(at), head.begin() + static_cast<std::ptrdiff_t>(at + 512));
    put_octal(header, 100, 8, at == 0 ? 0755 : 0644);
    put_octal(header, 124, 12, at == 0 ? 0 : disk_size);
    put_octal(header, 136, 12, 0);
    std::memset(header.data() + 148, ' ', 8);
    header[156] = at == 0 ? '5' : '0';
    std::memcpy(header.data() + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (const uint8_t byte : header) sum += byte;
    put_octal(header, 148, 7, sum);
    std::copy(header.begin(), header.end(), head.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return {head, Data((512 - disk_size % 512) % 512 + 1024)};
}

Data tar_of(const Data& content) {
  TarFrame frame = tar_frame(content.size());
  Data tar = std::move(frame.head);
  tar.insert(tar.end(), content.begin(), content.end());
  tar.insert(tar.end(), frame.tail.begin(), frame.tail.end());
  return tar;
}

SizePlan exact(const Disk& disk) {
  return {disk.content().size(), true, "header"};
}

Built build(const Disk& disk, const LayerOptions& options, const SizePlan& plan, unsigned split,
            std::function<void(size_t)> on_write) {
  Built built;
  ScratchBudget budget(kGiB);
  MemoryOutput output;
  output.on_write = std::move(on_write);
  {
    LayerBuilder builder(options, Limits{}, budget, output, [&](uint64_t size, std::string_view from, unsigned n) {
      built.begins.push_back(std::to_string(size) + " " + std::string(from) + " " + std::to_string(n));
      output.bytes.clear();
      return tar_frame(size);
    });
    builder.start(plan);
    feed(builder, disk, split);
    builder.finish();
    built.result = builder.result();
    EXPECT_EQ(builder.disk_bytes(), built.result.disk_size);
  }
  built.layer = std::move(output.bytes);
  built.scratch_peak = budget.peak();
  return built;
}

Data unpack(LayerCodec codec, Bytes layer, std::vector<size_t>* starts) {
  if (codec == LayerCodec::kGzip) return unpack_gzip(layer, starts);
  if (codec == LayerCodec::kZstd) return unpack_zstd(layer, starts);
  return {layer.begin(), layer.end()};
}

std::string sha256(Bytes bytes) {
  Digest digest("sha256");
  digest.update(bytes);
  return digest.finish();
}

bool contains(Bytes haystack, Bytes needle) {
  return memmem(haystack.data(), haystack.size(), needle.data(), needle.size()) != nullptr;
}

std::string error_code(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return std::string(error.code());
  }
  return "";
}

}  // namespace dvcr::test
