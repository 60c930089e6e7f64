#include "kept_layer.h"

#include <array>

#include "../import_limits.h"

namespace dvcr {
namespace {

constexpr size_t kBlock = 256 * kKiB;
constexpr uint64_t kZeroMark = UINT64_MAX;

}  // namespace

void KeptLayer::frame(Bytes packed, size_t raw_size) {
  write_pending_zeros();
  put_record(packed.size(), raw_size);
  put(packed);
}

void KeptLayer::seal() {
  write_pending_zeros();
  write_out();
}

void KeptLayer::write_pending_zeros() {
  if (pending_zeros_ > 0) put_record(kZeroMark, pending_zeros_);
  pending_zeros_ = 0;
}

void KeptLayer::put_record(uint64_t first, uint64_t second) {
  const std::array<uint64_t, 2> record = {first, second};
  put({reinterpret_cast<const uint8_t*>(record.data()), sizeof record});
}

void KeptLayer::put(Bytes bytes) {
  if (buffer_.size() + bytes.size() > kBlock) write_out();
  if (bytes.size() >= kBlock) {
    file_.write_at(written_, bytes);
    written_ += bytes.size();
  } else {
    buffer_.append(bytes);
  }
}

void KeptLayer::write_out() {
  if (buffer_.size() > 0) file_.write_at(written_, buffer_.bytes());
  written_ += buffer_.size();
  buffer_.truncate(0);
}

std::optional<KeptLayer::Record> KeptLayer::next() {
  if (read_ == written_ && buffer_taken_ == buffer_.size()) return std::nullopt;
  std::array<uint64_t, 2> record{};
  read({reinterpret_cast<uint8_t*>(record.data()), sizeof record});
  if (record[0] == kZeroMark) return Record{record[1], 0, 0};
  return Record{0, record[0], record[1]};
}

void KeptLayer::read(MutableBytes out) {
  while (!out.empty()) {
    if (buffer_taken_ == buffer_.size()) {
      buffer_.truncate(0);
      buffer_taken_ = 0;
      const size_t count = static_cast<size_t>(std::min<uint64_t>(kBlock, written_ - read_));
      if (count == 0) throw Error(code::kScratchIo, "a kept layer ends early at byte " + std::to_string(written_));
      file_.read_at(read_, buffer_.extend(count));
      // Read once only; a destination may need the room for what it has not been able to keep itself.
      file_.release(read_, count);
      read_ += count;
    }
    const size_t count = std::min(out.size(), buffer_.size() - buffer_taken_);
    std::memcpy(out.data(), buffer_.data() + buffer_taken_, count);
    buffer_taken_ += count;
    out = out.subspan(count);
  }
}

}  // namespace dvcr
