// The archive, read by another's program.
#include "server/vllm/tokenizer_archive.h"

#include <openssl/sha.h>

#include <cstdio>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace skipstone::server {
namespace {

// What Python's zipfile, which checks every CRC, says of it.
std::string Listed(const std::string& archive) {
  const std::string command = absl::StrFormat(
      "python3 -c \"import zipfile; z = zipfile.ZipFile('%s'); assert z.testzip() is None; "
      "print([(n, z.read(n).decode()) for n in z.namelist()])\" 2>&1",
      archive);
  FILE* const out = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  while (const size_t read = fread(buffer, 1, sizeof(buffer), out)) text.append(buffer, read);
  EXPECT_EQ(pclose(out), 0) << text;
  return text;
}

TEST(TokenizerArchiveTest, IsAZipFile) {
  if (std::system("python3 -c 'import zipfile'") != 0) GTEST_SKIP() << "no python3";
  const TokenizerArchive archive = ArchiveOf({{"a.json", "{\"x\": 1}"}, {"empty", ""}, {"b", "b"}});
  TempDir dir;
  EXPECT_EQ(Listed(dir.Write("t.zip", archive.bytes)),
            "[('a.json', '{\"x\": 1}'), ('empty', ''), ('b', 'b')]\n");
}

TEST(TokenizerArchiveTest, KnowsItsHash) {
  const TokenizerArchive archive = ArchiveOf({{"a", "text"}});
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(archive.bytes.data()), archive.bytes.size(), hash);
  EXPECT_EQ(archive.sha256,
            absl::BytesToHexString(std::string(reinterpret_cast<char*>(hash), sizeof(hash))));
}

TEST(TokenizerArchiveTest, NoTwoHaveTheSameNonce) {
  const std::string demo = SourcePath("models/demo");
  const auto first = OpenTokenizerArchive(demo);
  const auto second = OpenTokenizerArchive(demo);
  ASSERT_TRUE(first.ok() && second.ok()) << first.status();
  EXPECT_NE(first->sha256, second->sha256);
}

TEST(TokenizerArchiveTest, WithoutFilesThereIsNone) {
  EXPECT_TRUE(absl::IsNotFound(OpenTokenizerArchive("/nowhere").status()));
}

}  // namespace
}  // namespace skipstone::server
