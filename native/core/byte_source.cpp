#include "byte_source.h"

#include <algorithm>

namespace dvcr {

Bytes PrefixSource::prefix(size_t want) {
  prefix_.erase(prefix_.begin(), prefix_.begin() + static_cast<ptrdiff_t>(position_));
  position_ = 0;
  if (prefix_.size() < want) {
    size_t have = prefix_.size();
    prefix_.resize(want);
    size_t got = inner_.read(MutableBytes(prefix_).subspan(have));
    prefix_.resize(have + got);
  }
  return Bytes(prefix_).first(std::min(want, prefix_.size()));
}

Bytes PrefixSource::peek() {
  if (position_ < prefix_.size()) return Bytes(prefix_).subspan(position_);
  return inner_.peek();
}

void PrefixSource::consume(size_t count) {
  if (position_ < prefix_.size()) {
    position_ += count;
    if (position_ == prefix_.size()) {
      prefix_ = {};
      position_ = 0;
    }
    return;
  }
  inner_.consume(count);
}

size_t PrefixSource::read(MutableBytes out) {
  size_t from_prefix = std::min(out.size(), prefix_.size() - position_);
  if (from_prefix > 0) {
    std::memcpy(out.data(), prefix_.data() + position_, from_prefix);
    consume(from_prefix);
  }
  return from_prefix + inner_.read(out.subspan(from_prefix));
}

}  // namespace dvcr
