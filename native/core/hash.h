// Digests: OpenSSL's EVP (inside Node the symbols are Node's own; core_test links libcrypto), and libgcrypt for
// Streebog.
#pragma once

#include <memory>
#include <string>

#include "bytes.h"

namespace dvcr {

/// A running digest: "md5", "sha1", "sha256", "sha512", "streebog256", "streebog512" (GOST R 34.11-2012, RFC 6986).
class Digest {
 public:
  /// Throws kInternal for a name it does not know.
  explicit Digest(std::string_view algorithm);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  void update(Bytes bytes);
  /// Lower-case hex. Call once.
  std::string finish();
  [[nodiscard]] const std::string& algorithm() const { return algorithm_; }

 private:
  std::string algorithm_;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dvcr
