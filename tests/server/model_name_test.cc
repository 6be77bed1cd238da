#include "server/model_name.h"

#include <unistd.h>

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

namespace fs = std::filesystem;

TEST(ModelNameTest, AGivenNameWins) { EXPECT_EQ(ServedNameOf("mine", "/models/llama"), "mine"); }

TEST(ModelNameTest, IsTheLastPartOfAPath) {
  EXPECT_EQ(ServedNameOf("", "/models/llama-2-7b"), "llama-2-7b");
  EXPECT_EQ(ServedNameOf("", "models/llama-2-7b//"), "llama-2-7b");
  EXPECT_EQ(ServedNameOf("", "llama"), "llama");
  EXPECT_EQ(ServedNameOf("", "./llama/."), "llama");
  EXPECT_EQ(ServedNameOf("", "/"), "/");
  EXPECT_EQ(ServedNameOf("", ""), "");
}

TEST(ModelNameTest, ASyntheticModelIsCalledAsItStands) {
  EXPECT_EQ(ServedNameOf("", "synthetic:layers=2,hidden=64"), "synthetic:layers=2,hidden=64");
}

TEST(ModelNameTest, ASnapshotOfTheHubCacheHasTheNameOfItsRepository) {
  const std::string hub = "/root/.cache/huggingface/hub/";
  const std::string snapshot = "/snapshots/0123456789abcdef0123456789abcdef01234567";
  EXPECT_EQ(ServedNameOf("", hub + "models--acme--tiny-llama-2" + snapshot), "acme/tiny-llama-2");
  EXPECT_EQ(ServedNameOf("", hub + "models--acme--tiny-llama-2" + snapshot + "/"),
            "acme/tiny-llama-2");
  EXPECT_EQ(ServedNameOf("", hub + "models--gpt" + snapshot), "gpt");
  EXPECT_EQ(ServedNameOf("", "/other" + snapshot), snapshot.substr(sizeof("/snapshots")));
}

TEST(ModelNameTest, DotsAreTheRealFolder) {
  const TempDir folder;
  const fs::path snapshot =
      fs::path(folder.path()) / "models--acme--tiny-llama-2" / "snapshots" / "abc";
  const fs::path plain = fs::path(folder.path()) / "plain" / "inner";
  fs::create_directories(snapshot);
  fs::create_directories(plain);
  fs::create_directory_symlink(plain, fs::path(folder.path()) / "link");
  const fs::path before = fs::current_path();
  fs::current_path(plain);
  EXPECT_EQ(ServedNameOf("", "."), "inner");
  EXPECT_EQ(ServedNameOf("", "./"), "inner");
  EXPECT_EQ(ServedNameOf("", ".."), "plain");
  EXPECT_EQ(ServedNameOf("", "../../link"), "link") << "a link is named by whoever made it";
  EXPECT_EQ(ServedNameOf("", "../../link/.."), "plain") << "but it leads elsewhere";
  fs::current_path(snapshot);
  EXPECT_EQ(ServedNameOf("", "."), "acme/tiny-llama-2");
  fs::current_path(before);
}

}  // namespace
}  // namespace skipstone::server
