// Certificates for tests: an authority of its own, and what it signs for "localhost".
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace skipstone {

class TestAuthority {
 public:
  struct Pair {
    std::string certificate;  // PEM
    std::string key;          // PEM
  };

  TestAuthority() : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), own_(Make("authority", *key_)) {
    Extend(*own_, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(own_.get(), key_.get(), EVP_sha256());
  }

  std::string certificate() const { return Pem(*own_); }

  // Of a server or a client; it ends after so many seconds.
  Pair Sign(const char* name, long seconds = 3600) const {
    const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const Certificate made = Make(name, *key, seconds);
    X509_set_issuer_name(made.get(), X509_get_subject_name(own_.get()));
    Extend(*made, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_sign(made.get(), key_.get(), EVP_sha256());
    const Bio out(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return {Pem(*made), TextOf(*out)};
  }

  // The key (PEM) as a file that asks for a password.
  static std::string Protected(const std::string& key) {
    const Bio in(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())), BIO_free);
    const Key read(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    const Bio out(BIO_new(BIO_s_mem()), BIO_free);
    const unsigned char password[] = {'p', 'w', 'd', '4'};
    PEM_write_bio_PrivateKey(out.get(), read.get(), EVP_aes_128_cbc(), password, sizeof(password),
                             nullptr, nullptr);
    return TextOf(*out);
  }

 private:
  using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
  using Certificate = std::unique_ptr<X509, void (*)(X509*)>;
  using Bio = std::unique_ptr<BIO, int (*)(BIO*)>;

  static std::string TextOf(BIO& bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(&bio, &data);
    return {data, static_cast<size_t>(size)};
  }
  static std::string Pem(X509& certificate) {
    const Bio out(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_X509(out.get(), &certificate);
    return TextOf(*out);
  }
  static void Extend(X509& certificate, int nid, const char* value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(&certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  // Its own issuer, and not signed.
  static Certificate Make(const char* name, EVP_PKEY& key, long seconds = 3600) {
    static long serial = 1;
    Certificate made(X509_new(), X509_free);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), seconds);
    X509_set_pubkey(made.get(), &key);
    X509_NAME* const subject = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(made.get(), subject);
    return made;
  }

  const Key key_;
  const Certificate own_;
};

}  // namespace skipstone
