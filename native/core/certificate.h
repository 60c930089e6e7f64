// A self-signed certificate by OpenSSL (inside Node the symbols are Node's own; core_test links libcrypto).
#pragma once

#include <string>

namespace dvcr {

struct SelfSigned {
  std::string certificate;  ///< PEM, X.509 version 3 (RFC 5280)
  std::string key;          ///< PEM, PKCS #8
};

/// A new P-256 key and a certificate for `common_name`, also as a DNS name, good for ten years from yesterday (clocks
/// differ). For ports whose readers do not verify it. Throws kInternal where OpenSSL refuses.
SelfSigned make_self_signed(const std::string& common_name);

}  // namespace dvcr
