#include "server/vllm/tokenizer_archive.h"

#include <openssl/sha.h>
#include <zlib.h>

#include <cstdint>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "server/admission.h"

namespace skipstone::server {
namespace {

// Little-endian, as all of the format.
void Put(std::string& to, uint64_t value, int bytes) {
  for (; bytes > 0; --bytes, value >>= 8) to += static_cast<char>(value);
}

uint32_t Crc32(const std::string& text) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
}

// What the header of a file and its entry in the directory have in common (PKWARE's APPNOTE.TXT,
// 4.3.7 and 4.3.12): version 2.0, no flags, stored, the first of January 1980.
void PutFile(std::string& to, const std::string& name, const std::string& text) {
  Put(to, 20, 2);
  Put(to, 0, 2);
  Put(to, 0, 2);
  Put(to, 0, 2);
  Put(to, 1 << 5 | 1, 2);
  Put(to, Crc32(text), 4);
  Put(to, text.size(), 4);
  Put(to, text.size(), 4);
  Put(to, name.size(), 2);
  Put(to, 0, 2);
}

}  // namespace

TokenizerArchive ArchiveOf(const TokenizerFileTexts& files) {
  std::string bytes;
  std::string directory;
  for (const auto& [name, text] : files) {
    directory += "PK\1\2";
    Put(directory, 20, 2);
    PutFile(directory, name, text);
    Put(directory, 0, 2 + 2 + 2 + 4);  // no comment, the first disk, no attributes
    Put(directory, bytes.size(), 4);
    directory += name;
    bytes += "PK\3\4";
    PutFile(bytes, name, text);
    bytes += name;
    bytes += text;
  }
  const size_t at = bytes.size();
  bytes += directory;
  bytes += "PK\5\6";
  Put(bytes, 0, 2 + 2);
  Put(bytes, files.size(), 2);
  Put(bytes, files.size(), 2);
  Put(bytes, directory.size(), 4);
  Put(bytes, at, 4);
  Put(bytes, 0, 2);
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  const std::string sha256(reinterpret_cast<const char*>(hash), sizeof(hash));
  return {.bytes = std::move(bytes), .sha256 = absl::BytesToHexString(sha256)};
}

absl::StatusOr<TokenizerArchive> OpenTokenizerArchive(const std::string& dir) {
  SKIPSTONE_ASSIGN_OR_RETURN(const TokenizerFileTexts files, ExportTokenizer(dir, MakeRequestId()));
  return ArchiveOf(files);
}

}  // namespace skipstone::server
