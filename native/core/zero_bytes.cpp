#include "zero_bytes.h"

#include <sys/mman.h>

#include <new>

#include "import_limits.h"

namespace dvcr {

ZeroMapping::ZeroMapping(size_t size)
    : size_(size), address_(mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  if (address_ == MAP_FAILED) throw std::bad_alloc();
}

ZeroMapping::~ZeroMapping() {
  munmap(address_, size_);
}

Bytes zero_bytes() {
  static const ZeroMapping zeros(256 * kKiB);
  return zeros.bytes();
}

}  // namespace dvcr
