#include "client/cli/sweep_journal.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::json;

const Json kHeader = {{"format", 1}, {"model", "5eed"}, {"skips", {{"none", "none"}}}};

class SweepJournalTest : public testing::Test {
 protected:
  absl::StatusOr<SweepJournal> Open(bool resume, const Json& header = kHeader) {
    results_.clear();
    return SweepJournal::Open(path_, header, resume, results_);
  }
  void WriteItems(int count) {
    auto journal = Open(/*resume=*/true);
    ASSERT_TRUE(journal.ok()) << journal.status();
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(
          journal->Append({SweepTask::kLastWords, i, 0}, LastWordResult{-1.0 * i, i > 0}).ok());
    }
  }
  std::string Bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TempDir dir_;
  const std::string path_ = dir_.path() + "/journal.jsonl";
  SweepResults results_;
};

TEST_F(SweepJournalTest, WhatWasAppendedIsThereAgain) {
  WriteItems(3);
  ASSERT_TRUE(Open(/*resume=*/true).ok());
  ASSERT_EQ(results_.size(), 3);
  EXPECT_EQ(std::get<LastWordResult>(results_.at({SweepTask::kLastWords, 2, 0})).logprob, -2);
}

TEST_F(SweepJournalTest, IsInTheFileAtOnce) {
  auto journal = Open(/*resume=*/false);
  ASSERT_TRUE(journal.ok()) << journal.status();
  const size_t before = Bytes().size();
  ASSERT_TRUE(journal->Append({SweepTask::kLastWords, 0, 0}, LastWordResult{}).ok());
  EXPECT_GT(Bytes().size(), before);
}

TEST_F(SweepJournalTest, AnotherSweepsIsNotOverwritten) {
  WriteItems(1);
  const std::string before = Bytes();
  const auto journal = Open(/*resume=*/false);
  EXPECT_EQ(journal.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(journal.status().message()),
              AllOf(HasSubstr(path_), HasSubstr("--resume")));
  EXPECT_EQ(Bytes(), before);
}

TEST_F(SweepJournalTest, WhatDiffersIsNamed) {
  WriteItems(1);
  Json header = kHeader;
  header["model"] = "f00d";
  const auto journal = Open(/*resume=*/true, header);
  EXPECT_EQ(journal.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(journal.status().message()),
              AllOf(HasSubstr("\"model\""), HasSubstr("5eed"), HasSubstr("f00d")));
  header = kHeader;
  header["new"] = 1;
  EXPECT_EQ(Open(/*resume=*/true, header).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SweepJournalTest, CutAnywhereItHasTheLinesThatAreWhole) {
  WriteItems(3);
  const std::string whole = Bytes();
  for (size_t size = 0; size <= whole.size(); size += 3) {
    dir_.Write("journal.jsonl", whole.substr(0, size));
    ASSERT_TRUE(Open(/*resume=*/true).ok()) << size;
    const std::string kept = Bytes();
    const std::string lines = whole.substr(0, whole.rfind('\n', size - 1) + 1);
    // With nothing whole it begins anew.
    const size_t header = whole.find('\n') + 1;
    EXPECT_EQ(kept, size < header ? whole.substr(0, header) : lines);
    EXPECT_EQ(results_.size(), std::count(kept.begin(), kept.end(), '\n') - 1);
  }
}

TEST_F(SweepJournalTest, WrongLinesAreErrors) {
  WriteItems(2);
  std::string bytes = Bytes();
  bytes.insert(bytes.find('\n') + 1, "{\"task\": \"speed\"}\n");
  dir_.Write("journal.jsonl", bytes);
  const auto journal = Open(/*resume=*/true);
  EXPECT_EQ(journal.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(journal.status().message()), HasSubstr("line 2"));
  EXPECT_EQ(Bytes(), bytes);
  dir_.Write("journal.jsonl", "my notes\n");
  EXPECT_EQ(Open(/*resume=*/true).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SweepJournalTest, FoldersThatAreNotThereAreErrors) {
  SweepResults results;
  EXPECT_FALSE(SweepJournal::Open(dir_.path() + "/none/journal", kHeader, true, results).ok());
}

TEST_F(SweepJournalTest, WithoutAFileItKeepsNothing) {
  SweepJournal journal;
  EXPECT_TRUE(journal.Append({}, SpeedResult{}).ok());
}

}  // namespace
}  // namespace skipstone::client
