#include "hash.h"

#include <openssl/evp.h>

#include <array>

#include "error.h"

namespace dvcr {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

const EVP_MD* find_algorithm(std::string_view name) {
  // A fixed list, so that what OpenSSL also knows (shake128, ...) is no accident of its build.
  if (name == "md5") return EVP_md5();
  if (name == "sha1") return EVP_sha1();
  if (name == "sha256") return EVP_sha256();
  if (name == "sha512") return EVP_sha512();
  return nullptr;
}

}  // namespace

struct Digest::State {
  std::unique_ptr<EVP_MD_CTX, FreeContext> context{EVP_MD_CTX_new()};
};

Digest::Digest(std::string_view algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) {
  const EVP_MD* const digest = find_algorithm(algorithm);
  if (digest == nullptr) throw Error(code::kInternal, "no digest is named '" + algorithm_ + "'");
  if (state_->context == nullptr || EVP_DigestInit_ex(state_->context.get(), digest, nullptr) != 1) {
    throw Error(code::kInternal, "OpenSSL does not offer " + algorithm_);
  }
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(Bytes bytes) {
  if (EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) != 1) {
    throw Error(code::kInternal, "OpenSSL failed to update " + algorithm_);
  }
}

std::string Digest::finish() {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_->context.get(), digest.data(), &size) != 1) {
    throw Error(code::kInternal, "OpenSSL failed to finish " + algorithm_);
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string hex;
  hex.reserve(size_t{size} * 2);
  for (unsigned i = 0; i < size; ++i) {
    hex += kHex[digest[i] >> 4];
    hex += kHex[digest[i] & 15];
  }
  return hex;
}

}  // namespace dvcr
