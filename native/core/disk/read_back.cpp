#include "read_back.h"

#include <unistd.h>

#include <algorithm>

#include "../hash.h"
#include "../import_limits.h"
#include "../zero_bytes.h"

namespace dvcr {
namespace {

/// Where the hole at `offset` ends, `size` at most; `offset` where there is none, or the file system cannot say.
uint64_t end_of_hole(int fd, uint64_t offset, uint64_t size) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? size : offset;
  return std::min(size, static_cast<uint64_t>(data) / kDiskAlign * kDiskAlign);
}

}  // namespace

std::string digest_back(DiskFile& file, uint64_t from, uint64_t size, const std::atomic<bool>& cancelled) {
  Digest digest("sha256");
  const AlignedBuffer buffer = make_aligned(kMiB);
  const uint64_t length = file.length();
  if (length < size) {
    throw Error(code::kDiskReadBack, "it has " + std::to_string(length) + " bytes instead of " + std::to_string(size));
  }
  for (uint64_t at = from; at < size;) {
    if (cancelled) throw Error(code::kCancelled, "the export was cancelled");
    const uint64_t data = end_of_hole(file.fd(), at, size);
    while (at < data) {
      const Bytes part = zero_bytes(data - at);
      digest.update(part);
      at += part.size();
      if (cancelled) throw Error(code::kCancelled, "the export was cancelled");
    }
    if (at >= size) break;
    const auto want = static_cast<size_t>(std::min(kMiB, size - at));
    // Direct reads are of whole sectors.
    const size_t whole = div_ceil(want, kDiskAlign) * kDiskAlign;
    const size_t got = file.read(at, {buffer.get(), whole});
    if (got < want) throw Error(code::kDiskReadBack, "byte " + std::to_string(at + got) + " cannot be read");
    digest.update({buffer.get(), want});
    at += want;
  }
  return digest.finish();
}

void check_back(DiskFile& file, uint64_t from, uint64_t size, const std::string& sha256,
                const std::atomic<bool>& cancelled) {
  const std::string found = digest_back(file, from, size, cancelled);
  if (found == sha256) return;
  throw Error(code::kDiskReadBack, "what was written has the sha256 sum " + sha256 + ", what is read " + found);
}

}  // namespace dvcr
