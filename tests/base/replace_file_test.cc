#include "base/replace_file.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone {
namespace {

std::string TextOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ReplaceFileTest, TheNewFileIsWholeAndReadableByAll) {
  TempDir dir;
  const std::string path = dir.Write("a", "what was there");
  const std::string large(1 << 20, 'x');
  const std::string_view pieces[] = {"head", "", large};
  const absl::Status status = ReplaceFile(path, pieces);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(TextOf(path), "head" + large);
  struct stat info = {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(ReplaceFileTest, WhoHasTheOldFileOpenKeepsIt) {
  TempDir dir;
  const std::string path = dir.Write("a", "old");
  std::ifstream open(path);
  const std::string_view pieces[] = {"new"};
  ASSERT_TRUE(ReplaceFile(path, pieces).ok());
  std::string text;
  open >> text;
  EXPECT_EQ(text, "old");
}

TEST(ReplaceFileTest, AFailureNamesThePathAndLeavesNothing) {
  TempDir dir;
  const std::string_view pieces[] = {"new"};
  const absl::Status absent = ReplaceFile(dir.path() + "/absent/a", pieces);
  EXPECT_TRUE(absl::IsUnavailable(absent));
  EXPECT_NE(absent.message().find("absent/a"), absl::string_view::npos);
  std::filesystem::create_directory(dir.path() + "/folder");
  EXPECT_TRUE(absl::IsUnavailable(ReplaceFile(dir.path() + "/folder", pieces)));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

}  // namespace
}  // namespace skipstone
