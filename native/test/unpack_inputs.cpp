#include "unpack_inputs.h"

#include <bzlib.h>
#include <lzma.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdio>
#include <random>
#include <stdexcept>

#include "formats/crc32c.h"
#include "support.h"

namespace dvcr::test {
namespace {

void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

Buffer run_lzma(lzma_stream& stream, Bytes content) {
  Buffer out(content.size() + content.size() / 4 + 64 * kKiB);
  stream.next_in = content.data();
  stream.avail_in = content.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) status = lzma_code(&stream, LZMA_FINISH);
  out.resize(out.size() - stream.avail_out);
  lzma_end(&stream);
  require(status == LZMA_STREAM_END, "xz encoder");
  return out;
}

}  // namespace

Buffer sample_content(size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  Buffer content(size);
  for (size_t i = 0; i < size; ++i) {
    bool zeros = (i >> 12) % 5 == 3;
    content[i] = zeros ? uint8_t{0} : static_cast<uint8_t>("0123456789abcdef"[random() % 16]);
  }
  return content;
}

Buffer gzip_member(Bytes content) {
  z_stream stream{};
  require(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2");
  Buffer out(deflateBound(&stream, content.size()));
  stream.next_in = const_cast<Bytef*>(content.data());
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  int status = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  require(status == Z_STREAM_END, "deflate");
  return out;
}

Buffer xz_stream(Bytes content, uint32_t dictionary) {
  lzma_options_lzma options{};
  require(!lzma_lzma_preset(&options, 0), "lzma_lzma_preset");
  options.dict_size = dictionary;
  lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  // One call, because a streaming encoder would allocate many times the dictionary.
  Buffer out(lzma_stream_buffer_bound(content.size()));
  size_t size = 0;
  require(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC64, nullptr, content.data(), content.size(), out.data(),
                                    &size, out.size()) == LZMA_OK,
          "lzma_stream_buffer_encode");
  out.resize(size);
  return out;
}

Buffer xz_blocks(Bytes content, uint64_t block_size) {
  lzma_stream stream = LZMA_STREAM_INIT;
  lzma_mt options{};
  options.threads = 1;
  options.block_size = block_size;
  options.preset = 0;
  options.check = LZMA_CHECK_CRC64;
  require(lzma_stream_encoder_mt(&stream, &options) == LZMA_OK, "lzma_stream_encoder_mt");
  return run_lzma(stream, content);
}

Buffer zstd_frame(Bytes content, int window_log, bool content_size) {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, content_size ? 1 : 0);
  if (window_log != 0) ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
  Buffer out(ZSTD_compressBound(content.size()));
  // Several calls, so that the encoder cannot shrink the window to the content.
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  if (content_size) ZSTD_CCtx_setPledgedSrcSize(context.get(), content.size());
  ZSTD_inBuffer first{content.data(), content.size() / 2, 0};
  ZSTD_inBuffer rest{content.data(), content.size(), content.size() / 2};
  require(ZSTD_isError(ZSTD_compressStream2(context.get(), &output, &first, ZSTD_e_continue)) == 0, "zstd");
  require(ZSTD_compressStream2(context.get(), &output, &rest, ZSTD_e_end) == 0, "zstd");
  out.resize(output.pos);
  return out;
}

Buffer zstd_skippable(size_t size) {
  Buffer frame{0x5e, 0x2a, 0x4d, 0x18};
  for (unsigned shift = 0; shift < 32; shift += 8) frame.push_back(static_cast<uint8_t>(size >> shift));
  frame.resize(frame.size() + size, 0xee);
  return frame;
}

Buffer bzip2_stream(Bytes content) {
  auto size = static_cast<unsigned>(content.size() + content.size() / 50 + 700);
  Buffer out(size);
  if (content.empty()) content = Bytes(out).first(0);  // libbz2 takes no null pointer
  require(BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(out.data()), &size,
                                   const_cast<char*>(reinterpret_cast<const char*>(content.data())),
                                   static_cast<unsigned>(content.size()), 1, 0, 0) == BZ_OK,
          "bzip2");
  out.resize(size);
  return out;
}

Buffer snappy_chunk(uint8_t type, Bytes plain, Bytes body) {
  Crc32c crc;
  crc.add(plain);
  uint32_t masked = ((crc.value() >> 15) | (crc.value() << 17)) + 0xa282ead8U;
  size_t length = body.size() + sizeof masked;
  Buffer chunk{type, static_cast<uint8_t>(length), static_cast<uint8_t>(length >> 8),
               static_cast<uint8_t>(length >> 16)};
  for (unsigned shift = 0; shift < 32; shift += 8) chunk.push_back(static_cast<uint8_t>(masked >> shift));
  chunk.insert(chunk.end(), body.begin(), body.end());
  return chunk;
}

Buffer snappy_frames(Bytes content) {
  Buffer out{0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'};
  while (!content.empty()) {
    Bytes plain = content.first(std::min<size_t>(content.size(), 64 * kKiB));
    content = content.subspan(plain.size());
    size_t size = snappy_max_compressed_length(plain.size());
    Buffer body(size);
    require(snappy_compress(reinterpret_cast<const char*>(plain.data()), plain.size(),
                            reinterpret_cast<char*>(body.data()), &size) == SNAPPY_OK,
            "snappy_compress");
    Buffer chunk = snappy_chunk(0, plain, Bytes(body).first(size));
    out.insert(out.end(), chunk.begin(), chunk.end());
  }
  return out;
}

Buffer packed(Compression compression, Bytes content) {
  switch (compression) {
    case Compression::kGzip:
      return gzip_member(content);
    case Compression::kXz:
      return xz_stream(content);
    case Compression::kZstd:
      return zstd_frame(content);
    case Compression::kBzip2:
      return bzip2_stream(content);
    case Compression::kSnappy:
      return snappy_frames(content);
    case Compression::kNone:
      break;
  }
  throw std::runtime_error("no encoder");
}

Buffer run_tool(const std::string& command, Bytes input) {
  TempDir directory;
  const std::string path = directory.path("input");
  write_file(path, input);
  FILE* pipe = popen((command + " < '" + path + "'").c_str(), "r");
  require(pipe != nullptr, "popen");
  Buffer out;
  Buffer chunk(64 * kKiB);
  for (size_t got = 1; got > 0;) {
    got = fread(chunk.data(), 1, chunk.size(), pipe);
    out.insert(out.end(), chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(got));
  }
  int status = pclose(pipe);
  require(status == 0, command.c_str());
  return out;
}

Buffer joined(std::initializer_list<Buffer> parts) {
  Buffer all;
  for (const Buffer& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Unpacked unpack(Compression compression, Bytes input, size_t chunk, size_t read_size, unsigned threads,
                const Limits& limits) {
  MemorySource source(input, chunk);
  PrefixSource inner(source);
  Unpacked result;
  try {
    std::unique_ptr<Unpacker> unpacker = make_unpacker(compression, inner, limits, threads);
    Buffer piece(read_size);
    while (true) {
      Bytes next = piece;
      if (read_size == 0) {
        next = unpacker->peek();
      } else {
        next = next.first(unpacker->read(piece));
      }
      if (next.empty()) break;
      result.content.insert(result.content.end(), next.begin(), next.end());
      if (read_size == 0) unpacker->consume(next.size());
    }
    // As UnpackChain::finish() has it.
    if (unpacker->trailing()) result.code = code::kTrailingData;
  } catch (const Error& error) {
    result.code = error.code();
    result.message = error.what();
  }
  return result;
}

}  // namespace dvcr::test
