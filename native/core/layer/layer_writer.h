// The layer's bytes in order, to the output and its digest.
#pragma once

#include "../cpu_turn.h"
#include "../hash.h"
#include "zero_frames.h"

namespace dvcr {

/// Used by the output thread; begin() and finish() while that rests.
class LayerWriter {
 public:
  LayerWriter(LayerCodec codec, LayerOutput& output) : codec_(codec), output_(output), zeros_(codec) {}

  /// Starts a layer; what was written before is void.
  void begin() {
    zeros_ = ZeroRun(codec_);
    size_ = 0;
    // An uncompressed layer is the tar itself, which the digest thread hashes already.
    if (codec_ != LayerCodec::kNone) digest_.emplace("sha256");
  }
  void zeros(uint64_t length) {
    zeros_.add(length, [this](Bytes frame) { emit(frame); });
  }
  void frame(Bytes bytes) {
    zeros_.flush([this](Bytes zero_frame) { emit(zero_frame); });
    emit(bytes);
  }
  [[nodiscard]] uint64_t size() const { return size_; }
  /// Hex of the layer's SHA-256; `diff_id` is that of the tar.
  std::string finish(const std::string& diff_id) { return digest_ ? digest_->finish() : diff_id; }

 private:
  void emit(Bytes bytes) {
    if (bytes.empty()) return;
    hash(bytes);
    output_.write(bytes);
    size_ += bytes.size();
  }

  void hash(Bytes bytes) {
    if (!digest_) return;
    const CpuTurn turn;
    digest_->update(bytes);
  }

  LayerCodec codec_;
  LayerOutput& output_;
  ZeroRun zeros_;
  std::optional<Digest> digest_;
  uint64_t size_ = 0;
};

}  // namespace dvcr
