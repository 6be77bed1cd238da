#include "server/rotating_file.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

const std::atomic<bool> kOpen{false};

class RotatingFileTest : public testing::Test {
 protected:
  std::string Name(const std::string& name = "x.jsonl") const { return dir_.path() + "/" + name; }
  std::string Read(const std::string& name = "x.jsonl") const {
    std::ifstream in(Name(name));
    return {std::istreambuf_iterator<char>(in), {}};
  }
  TempDir dir_;
};

TEST_F(RotatingFileTest, WritesBehindWhatIsThere) {
  dir_.Write("x.jsonl", "before\n");
  RotatingFile file(Name(), 1000, 3);
  ASSERT_TRUE(file.Open().ok());
  EXPECT_TRUE(file.Write("one\ntwo\n", kOpen));
  EXPECT_TRUE(file.Write("three\n", kOpen));
  EXPECT_EQ(Read(), "before\none\ntwo\nthree\n");
}

TEST_F(RotatingFileTest, ANewFileIsNotForEverybodyToRead) {
  RotatingFile file(Name(), 1000, 3);
  ASSERT_TRUE(file.Open().ok());
  struct stat status {};
  EXPECT_EQ(stat(Name().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07, 0u);
}

TEST_F(RotatingFileTest, ATornLineOfACrashStaysALineOfItsOwn) {
  dir_.Write("x.jsonl", "one\nto");
  RotatingFile file(Name(), 1000, 3);
  EXPECT_TRUE(file.Write("two\n", kOpen));
  EXPECT_EQ(Read(), "one\nto\ntwo\n");
}

TEST_F(RotatingFileTest, KeepsAsManyFilesAsItMay) {
  RotatingFile file(Name(), 10, 3);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(file.Write("line" + std::to_string(i) + "\n", kOpen));
  EXPECT_EQ(Read(), "line9\n") << "two would be more than ten bytes";
  EXPECT_EQ(Read("x.jsonl.1"), "line8\n");
  EXPECT_EQ(Read("x.jsonl.2"), "line7\n");
  EXPECT_FALSE(std::filesystem::exists(Name("x.jsonl.3")));
  EXPECT_TRUE(file.Write(std::string(100, 'x') + "\n", kOpen)) << "a longer line has its own";
  EXPECT_TRUE(file.Write("next\n", kOpen));
  EXPECT_EQ(Read("x.jsonl.1"), std::string(100, 'x') + "\n");
  EXPECT_EQ(Read(), "next\n");
}

TEST_F(RotatingFileTest, AFullFileOfBeforeIsRenamedFirst) {
  dir_.Write("x.jsonl", "0123456789\n");
  RotatingFile file(Name(), 10, 2);
  EXPECT_TRUE(file.Write("one\n", kOpen));
  EXPECT_EQ(Read("x.jsonl.1"), "0123456789\n");
  EXPECT_EQ(Read(), "one\n");
}

TEST_F(RotatingFileTest, AFullDeviceTakesNothing) {
  RotatingFile file("/dev/full", 10, 2);
  ASSERT_TRUE(file.Open().ok());
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(file.Write("0123456789\n", kOpen));
  EXPECT_FALSE(std::filesystem::exists("/dev/full.1"));
}

// A disk that is full after so many bytes: the process may make no larger file.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(RotatingFileTest, WhatADiskTookOfALineIsTakenBackAndLaterLinesAreWhole) {
  RotatingFile file(Name(), 1000, 2);
  {
    const FileLimit limit(10);
    EXPECT_TRUE(file.Write("one\n", kOpen));
    EXPECT_FALSE(file.Write("0123456789\n", kOpen));
    EXPECT_EQ(Read(), "one\n");
    EXPECT_TRUE(file.Write("two\n", kOpen)) << "a shorter one fits";
  }
  EXPECT_TRUE(file.Write("three\n", kOpen));
  EXPECT_EQ(Read(), "one\ntwo\nthree\n");
}

TEST_F(RotatingFileTest, AFolderThatComesLaterIsFound) {
  RotatingFile file(dir_.path() + "/later/x.jsonl", 1000, 2);
  const absl::Status status = file.Open();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("later/x.jsonl: No such file"));
  EXPECT_FALSE(file.Write("one\n", kOpen));
  std::filesystem::create_directory(dir_.path() + "/later");
  EXPECT_TRUE(file.Write("two\n", kOpen));
}

}  // namespace
}  // namespace skipstone::server
