// A growable byte buffer that does not clear what it hands out and keeps its memory when emptied.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "../bytes.h"

namespace dvcr {

class Buffer {
 public:
  [[nodiscard]] uint8_t* data() { return data_.get(); }
  [[nodiscard]] const uint8_t* data() const { return data_.get(); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }
  [[nodiscard]] Bytes bytes() const { return {data_.get(), size_}; }
  [[nodiscard]] MutableBytes bytes() { return {data_.get(), size_}; }

  void reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    auto grown = std::make_unique_for_overwrite<uint8_t[]>(capacity);
    if (size_ > 0) std::memcpy(grown.get(), data_.get(), size_);
    data_ = std::move(grown);
    capacity_ = capacity;
  }

  /// `count` uninitialised bytes at the end; earlier spans may move.
  MutableBytes extend(size_t count) {
    if (count > capacity_ - size_) reserve(std::max(size_ + count, capacity_ + capacity_ / 2));
    const MutableBytes added(data_.get() + size_, count);
    size_ += count;
    return added;
  }

  void append(Bytes bytes) {
    if (!bytes.empty()) std::memcpy(extend(bytes.size()).data(), bytes.data(), bytes.size());
  }

  /// Drops what lies after the first `size` bytes.
  void truncate(size_t size) { size_ = std::min(size, size_); }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace dvcr
