#include "qcow2_pack.h"

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <new>

namespace dvcr {
namespace {

// qemu inflates with a window of 4 KiB.
constexpr int kDeflateWindow = -12;
constexpr int kDeflateLevel = 5;
constexpr int kZstdLevel = 1;

}  // namespace

size_t deflate_cluster(Bytes plain, MutableBytes room) {
  struct Stream : z_stream {
    Stream() : z_stream() {
      constexpr int kMemoryLevel = 9;
      if (deflateInit2(this, kDeflateLevel, Z_DEFLATED, kDeflateWindow, kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
        throw std::bad_alloc();
      }
    }
    ~Stream() { deflateEnd(this); }
  };
  thread_local Stream stream;
  deflateReset(&stream);
  stream.next_in = plain.data();
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = room.data();
  stream.avail_out = static_cast<uInt>(room.size());
  return deflate(&stream, Z_FINISH) == Z_STREAM_END ? stream.total_out : 0;
}

size_t zstd_cluster(Bytes plain, MutableBytes room) {
  struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (context == nullptr) throw std::bad_alloc();
  const size_t size =
      ZSTD_compressCCtx(context.get(), room.data(), room.size(), plain.data(), plain.size(), kZstdLevel);
  return ZSTD_isError(size) != 0 ? 0 : size;
}

}  // namespace dvcr
