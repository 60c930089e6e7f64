// What the unpackers share: streams one after the other, padding, trailing data, early ends, and when an error
// is raised. A codec only begins a stream and takes steps in it.
#pragma once

#include <optional>
#include <vector>

#include "unpack.h"

namespace dvcr {

class Decoder : public Unpacker {
 public:
  Bytes peek() final;
  void consume(size_t count) final { taken_ += count; }
  /// Decodes straight into `out`.
  size_t read(MutableBytes out) final;
  [[nodiscard]] const std::optional<TrailingData>& trailing() const final { return trailing_; }

 protected:
  struct Step {
    size_t consumed;  ///< bytes of the input that were used
    size_t produced;  ///< bytes written
    bool stream_end;  ///< the stream is complete and its checks passed
  };

  Decoder(Compression compression, PrefixSource& inner) : compression_(compression), inner_(inner) {}

  /// Gets ready for the stream that begins at the next byte of `inner`, which has at least the magic.
  virtual void begin(PrefixSource& inner) = 0;
  /// One call of the library. `in` is empty only at the end of the input. A step that neither consumes nor produces
  /// at the end of the input means that the stream ends early. Reports errors by fail().
  virtual Step step(Bytes in, MutableBytes out) = 0;

  /// Remembers the first failure; it is thrown once what was decoded before it has been handed out.
  void fail(std::string_view code, const std::string& what);
  /// fail() with kCorruptCompression; `reason` is the library's.
  void fail_damaged(std::string_view reason);
  /// fail() for a stream that needs more memory than the limit; `needed` in bytes, 0 when it is not known.
  void fail_memory(uint64_t needed, uint64_t limit);
  /// fail() for an allocation that was refused.
  void fail_allocation();

 private:
  size_t decode(MutableBytes out);
  bool next_stream();
  uint64_t skip_zeros();
  void meet_trailing_data();

  Compression compression_;
  PrefixSource& inner_;
  bool started_ = false;
  bool in_stream_ = false;
  uint64_t consumed_ = 0;  // bytes of inner_
  uint64_t produced_ = 0;
  std::optional<Error> failure_;
  std::optional<TrailingData> trailing_;
  std::vector<uint8_t> buffer_;  // for peek(): bytes [taken_, filled_) are decoded and not consumed
  size_t taken_ = 0;
  size_t filled_ = 0;
};

std::unique_ptr<Unpacker> make_gzip_decoder(PrefixSource& inner);
std::unique_ptr<Unpacker> make_xz_decoder(PrefixSource& inner, const Limits& limits, unsigned threads);
std::unique_ptr<Unpacker> make_zstd_decoder(PrefixSource& inner, const Limits& limits);
std::unique_ptr<Unpacker> make_bzip2_decoder(PrefixSource& inner);
std::unique_ptr<Unpacker> make_snappy_decoder(PrefixSource& inner);

}  // namespace dvcr
