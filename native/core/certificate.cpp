#include "certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "error.h"

namespace dvcr {
namespace {

constexpr long kDay = 24L * 3600;
constexpr long kYears = 10L * 365 * kDay;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

void require(bool done) {
  if (!done) throw Error(code::kInternal, "OpenSSL made no certificate");
}

template <typename T>
Owned<T> require(T* made) {
  require(made != nullptr);
  return Owned<T>(made);
}

void set_serial(X509& certificate) {
  uint64_t serial = 0;
  require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1);
  // Positive, as RFC 5280 4.1.2.2 asks.
  require(ASN1_INTEGER_set_uint64(X509_get_serialNumber(&certificate), (serial >> 1) | 1) == 1);
}

void set_name(X509& certificate, const std::string& common_name) {
  X509_NAME* const name = X509_get_subject_name(&certificate);
  const auto* const text = reinterpret_cast<const unsigned char*>(common_name.data());
  require(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text, static_cast<int>(common_name.size()),
                                     -1, 0) == 1);
  require(X509_set_issuer_name(&certificate, name) == 1);
  const auto names =
      require(X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + common_name).c_str()));
  require(X509_add_ext(&certificate, names.get(), -1) == 1);
}

template <typename Write>
std::string pem(Write&& write) {
  const auto out = require(BIO_new(BIO_s_mem()));
  require(write(out.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  require(size > 0);
  return {text, static_cast<size_t>(size)};
}

}  // namespace

SelfSigned make_self_signed(const std::string& common_name) {
  const auto key = require(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  const auto certificate = require(X509_new());
  require(X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  set_serial(*certificate);
  require(X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDay) != nullptr);
  require(X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kYears) != nullptr);
  set_name(*certificate, common_name);
  require(X509_set_pubkey(certificate.get(), key.get()) == 1);
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  return {pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate.get()); }), pem([&](BIO* out) {
            return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

}  // namespace dvcr
