#include "server/config_watch.h"

#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

class ConfigWatchTest : public testing::Test {
 protected:
  // A second later.
  bool Looks(ConfigWatch& watch) { return watch.Changed(now_ += milliseconds(1001)); }
  // One look sees it, the next one that it rests.
  bool SeesOneChange(ConfigWatch& watch) {
    return !Looks(watch) && Looks(watch) && !Looks(watch) && !Looks(watch);
  }

  const TempDir dir_;
  Time now_ = Time() + std::chrono::hours(1);
};

TEST_F(ConfigWatchTest, AFileThatIsWrittenInPlace) {
  ConfigWatch watch(dir_.Write("a.yaml", "threads: 1"));
  EXPECT_FALSE(Looks(watch));
  dir_.Write("a.yaml", "threads: 12");
  EXPECT_TRUE(SeesOneChange(watch));
}

TEST_F(ConfigWatchTest, AFileInItsPlace) {
  const std::string path = dir_.Write("a.yaml", "threads: 1");
  ConfigWatch watch(path);
  fs::rename(dir_.Write("b.yaml", "threads: 2"), path);
  EXPECT_TRUE(SeesOneChange(watch));
}

// The kubelet's way: a.yaml leads to ..data/a.yaml, and ..data to another folder at each change.
TEST_F(ConfigWatchTest, ALinkThatLeadsElsewhere) {
  for (const char* version : {"/v1", "/v2"}) {
    fs::create_directory(dir_.path() + version);
    dir_.Write(std::string(version) + "/a.yaml", "threads: 1");
  }
  fs::create_symlink("v1", dir_.path() + "/..data");
  fs::create_symlink("..data/a.yaml", dir_.path() + "/a.yaml");
  ConfigWatch watch(dir_.path() + "/a.yaml");
  EXPECT_FALSE(Looks(watch));
  fs::create_symlink("v2", dir_.path() + "/..data_tmp");
  fs::rename(dir_.path() + "/..data_tmp", dir_.path() + "/..data");
  EXPECT_TRUE(SeesOneChange(watch));
}

TEST_F(ConfigWatchTest, OneThatKeepsChangingIsWaitedFor) {
  ConfigWatch watch(dir_.Write("a.yaml", ""));
  for (int i = 1; i < 10; ++i) {
    dir_.Write("a.yaml", std::string(i, '#'));
    EXPECT_FALSE(Looks(watch));
  }
  EXPECT_TRUE(Looks(watch));
}

TEST_F(ConfigWatchTest, OneThatGoesAndComesBack) {
  const std::string path = dir_.Write("a.yaml", "threads: 1");
  ConfigWatch watch(path);
  fs::remove(path);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Looks(watch));
  dir_.Write("a.yaml", "threads: 2");
  EXPECT_TRUE(SeesOneChange(watch));
}

TEST_F(ConfigWatchTest, LooksOnceASecond) {
  ConfigWatch watch(dir_.Write("a.yaml", "1"));
  EXPECT_FALSE(Looks(watch));
  dir_.Write("a.yaml", "22");
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(watch.Changed(now_ += milliseconds(100)));
  EXPECT_FALSE(watch.Changed(now_ += milliseconds(200)));
  EXPECT_TRUE(Looks(watch));
}

TEST_F(ConfigWatchTest, WithoutAFileNothingChanges) {
  ConfigWatch watch("");
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Looks(watch));
}

}  // namespace
}  // namespace skipstone::server
