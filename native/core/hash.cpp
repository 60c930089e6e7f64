#include "hash.h"

#include <gcrypt.h>
#include <openssl/evp.h>

#include <array>
#include <string>
#include <variant>

#include "error.h"

namespace dvcr {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(gcry_md_hd_t handle) const { gcry_md_close(handle); }
};

using OpensslContext = std::unique_ptr<EVP_MD_CTX, FreeContext>;
using GcryptContext = std::unique_ptr<gcry_md_handle, FreeContext>;

const EVP_MD* openssl_algorithm(std::string_view name) {
  // A fixed list, so that what OpenSSL also knows (shake128, ...) is no accident of its build.
  if (name == "md5") return EVP_md5();
  if (name == "sha1") return EVP_sha1();
  if (name == "sha256") return EVP_sha256();
  if (name == "sha512") return EVP_sha512();
  return nullptr;
}

int gcrypt_algorithm(std::string_view name) {
  if (name == "streebog256") return GCRY_MD_STRIBOG256;
  if (name == "streebog512") return GCRY_MD_STRIBOG512;
  return GCRY_MD_NONE;
}

/// libgcrypt must be told once that it is set up, before any thread uses it. Digests hold no keys: no locked memory.
void initialize_gcrypt() {
  static const bool ready = [] {
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P) != 0) return true;
    if (gcry_check_version(GCRYPT_VERSION) == nullptr) return false;
    return gcry_control(GCRYCTL_DISABLE_SECMEM, 0) == 0 && gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0) == 0;
  }();
  if (!ready) throw Error(code::kInternal, "libgcrypt is older than " GCRYPT_VERSION);
}

OpensslContext open_openssl(const EVP_MD* digest, const std::string& name) {
  OpensslContext context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestInit_ex(context.get(), digest, nullptr) != 1) {
    throw Error(code::kInternal, "OpenSSL does not offer " + name);
  }
  return context;
}

GcryptContext open_gcrypt(int algorithm, const std::string& name) {
  initialize_gcrypt();
  gcry_md_hd_t handle = nullptr;
  if (gcry_md_open(&handle, algorithm, 0) != 0) throw Error(code::kInternal, "libgcrypt does not offer " + name);
  return GcryptContext(handle);
}

std::string hex_of(Bytes digest) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string hex;
  hex.reserve(digest.size() * 2);
  for (const uint8_t byte : digest) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

}  // namespace

struct Digest::State {
  std::variant<OpensslContext, GcryptContext> context;
};

Digest::Digest(std::string_view algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) {
  if (const EVP_MD* const digest = openssl_algorithm(algorithm)) {
    state_->context = open_openssl(digest, algorithm_);
  } else if (const int gcrypt = gcrypt_algorithm(algorithm); gcrypt != GCRY_MD_NONE) {
    state_->context = open_gcrypt(gcrypt, algorithm_);
  } else {
    throw Error(code::kInternal, "no digest is named '" + algorithm_ + "'");
  }
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(Bytes bytes) {
  if (const auto* gcrypt = std::get_if<GcryptContext>(&state_->context)) {
    gcry_md_write(gcrypt->get(), bytes.data(), bytes.size());
  } else if (EVP_DigestUpdate(std::get<OpensslContext>(state_->context).get(), bytes.data(), bytes.size()) != 1) {
    throw Error(code::kInternal, "OpenSSL failed to update " + algorithm_);
  }
}

std::string Digest::finish() {
  if (const auto* gcrypt = std::get_if<GcryptContext>(&state_->context)) {
    const uint8_t* const digest = gcry_md_read(gcrypt->get(), 0);
    return hex_of({digest, gcry_md_get_algo_dlen(gcry_md_get_algo(gcrypt->get()))});
  }
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(std::get<OpensslContext>(state_->context).get(), digest.data(), &size) != 1) {
    throw Error(code::kInternal, "OpenSSL failed to finish " + algorithm_);
  }
  return hex_of(Bytes(digest).first(size));
}

}  // namespace dvcr
