#include "codec.h"

#include <bzlib.h>
#include <gcrypt.h>
#include <isa-l.h>
#include <libdeflate.h>
#include <lzma.h>
#include <openssl/crypto.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>

namespace dvcr {
namespace {

struct FreeDeflate {
  void operator()(libdeflate_decompressor* context) const { libdeflate_free_decompressor(context); }
};
struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

template <typename Context>
Context* require(Context* context) {
  if (context == nullptr) throw std::bad_alloc();
  return context;
}

libdeflate_decompressor* deflate_context() {
  thread_local const std::unique_ptr<libdeflate_decompressor, FreeDeflate> context(
      require(libdeflate_alloc_decompressor()));
  return context.get();
}

ZSTD_DCtx* zstd_context() {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(require(ZSTD_createDCtx()));
  return context.get();
}

[[noreturn]] void corrupt(std::string_view why) {
  throw Error(code::kCorruptCluster, "a compressed cluster " + std::string(why));
}

DecodedUnit decode_deflate(bool zlib, Bytes packed, MutableBytes out) {
  DecodedUnit unit{};
  const auto decompress = zlib ? libdeflate_zlib_decompress_ex : libdeflate_deflate_decompress_ex;
  switch (decompress(deflate_context(), packed.data(), packed.size(), out.data(), out.size(), &unit.consumed,
                     &unit.produced)) {
    case LIBDEFLATE_SUCCESS:
      return unit;
    case LIBDEFLATE_INSUFFICIENT_SPACE:
      corrupt("unpacks to more than " + std::to_string(out.size()) + " bytes");
    default:
      corrupt("is damaged or has no end");
  }
}

bool begins_zstd_frame(Bytes bytes) {
  if (bytes.size() < 4) return false;
  const uint32_t magic = le32(bytes, 0);
  return magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

// Frame by frame and in place, so no window is ever allocated. Images store a packed size that is rounded up, so
// what follows a full cluster is not ours to read.
DecodedUnit decode_zstd(Bytes packed, MutableBytes out) {
  DecodedUnit unit{};
  if (!begins_zstd_frame(packed)) corrupt("is not a zstd frame");
  while (unit.produced < out.size() && begins_zstd_frame(packed.subspan(unit.consumed))) {
    const Bytes rest = packed.subspan(unit.consumed);
    const size_t frame = ZSTD_findFrameCompressedSize(rest.data(), rest.size());
    if (ZSTD_isError(frame) != 0) corrupt("is damaged or has no end");
    const MutableBytes room = out.subspan(unit.produced);
    const size_t produced = ZSTD_decompressDCtx(zstd_context(), room.data(), room.size(), rest.data(), frame);
    if (ZSTD_isError(produced) != 0) {
      switch (ZSTD_getErrorCode(produced)) {
        case ZSTD_error_dstSize_tooSmall:
          corrupt("unpacks to more than " + std::to_string(out.size()) + " bytes");
        case ZSTD_error_dictionary_wrong:
          corrupt("needs a zstd dictionary");
        default:
          corrupt("is damaged");
      }
    }
    unit.consumed += frame;
    unit.produced += produced;
  }
  return unit;
}

}  // namespace

DecodedUnit decode_unit(UnitCodec codec, Bytes packed, MutableBytes out) {
  if (codec == UnitCodec::kZstd) return decode_zstd(packed, out);
  return decode_deflate(codec == UnitCodec::kZlib, packed, out);
}

DecodedUnit decode_checked(const CompressedUnit& unit, Bytes packed, MutableBytes out) {
  const std::string where = " (at byte " + std::to_string(unit.host_offset) + ")";
  DecodedUnit decoded{};
  try {
    decoded = decode_unit(unit.codec, packed, out);
  } catch (const Error& error) {
    throw Error(error.code(), error.what() + where);
  }
  if (decoded.produced < unit.min_size) {
    throw Error(code::kCorruptCluster, "a compressed cluster unpacks to " + std::to_string(decoded.produced) +
                                           " bytes and not " + std::to_string(unit.min_size) + where);
  }
  const MutableBytes missing = out.subspan(decoded.produced);
  std::fill(missing.begin(), missing.end(), uint8_t{0});
  return decoded;
}

uint32_t crc32(uint32_t seed, Bytes bytes) {
  return libdeflate_crc32(seed, bytes.data(), bytes.size());
}

std::vector<LibraryVersion> library_versions() {
  const auto isal = std::to_string(ISAL_MAJOR_VERSION) + "." + std::to_string(ISAL_MINOR_VERSION) + "." +
                    std::to_string(ISAL_PATCH_VERSION);
  return {{"libdeflate", LIBDEFLATE_VERSION_STRING},
          {"liblzma", lzma_version_string()},
          {"libzstd", ZSTD_versionString()},
          {"bzip2", BZ2_bzlibVersion()},
          {"zlib", zlibVersion()},
          {"isa-l", isal},
          {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
          {"libgcrypt", gcry_check_version(nullptr)}};
}

}  // namespace dvcr
