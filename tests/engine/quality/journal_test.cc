#include "engine/quality/journal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace skipstone::quality {
namespace {

TEST(JournalTest, KeepsResultsToTheBit) {
  TempDir dir;
  const std::string path = dir.path() + "/journal";
  const std::vector<double> values = {1.0 / 3, -0.0, 1e-310, 12345.678};
  {
    Journal journal = Journal::Open(path, "run").value();
    EXPECT_EQ(journal.Find(7), nullptr);
    ASSERT_TRUE(journal.Add(7, values).ok());
    ASSERT_TRUE(journal.Add(8, {}).ok());
    EXPECT_EQ(*journal.Find(7), values);
  }
  const Journal again = Journal::Open(path, "run").value();
  ASSERT_NE(again.Find(7), nullptr);
  EXPECT_EQ(*again.Find(7), values);
  EXPECT_TRUE(again.Find(8)->empty());
}

TEST(JournalTest, GoesOnFromAnyInterruption) {
  TempDir dir;
  const std::string path = dir.path() + "/journal";
  {
    Journal journal = Journal::Open(path, "run").value();
    for (uint64_t key = 1; key <= 3; ++key) ASSERT_TRUE(journal.Add(key, {0.1 * key, 2}).ok());
  }
  const auto size = std::filesystem::file_size(path);
  std::ifstream in(path);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  const std::string first_line = "run\n";
  for (size_t cut = first_line.size(); cut <= size; ++cut) {
    std::ofstream(path, std::ios::trunc) << whole.substr(0, cut);
    Journal journal = Journal::Open(path, "run").value();
    for (uint64_t key = 1; key <= 3; ++key) {
      const std::vector<double>* found = journal.Find(key);
      if (found != nullptr) EXPECT_EQ(*found, (std::vector<double>{0.1 * key, 2})) << cut;
      if (found == nullptr) ASSERT_TRUE(journal.Add(key, {0.1 * key, 2}).ok());
    }
    if (cut == size) continue;
    const Journal again = Journal::Open(path, "run").value();
    for (uint64_t key = 1; key <= 3; ++key) ASSERT_NE(again.Find(key), nullptr) << cut;
  }
}

TEST(JournalTest, RefusesThatOfAnotherRun) {
  TempDir dir;
  const std::string path = dir.path() + "/journal";
  ASSERT_TRUE(Journal::Open(path, "run a").ok());
  const auto other = Journal::Open(path, "run b");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(other.status().message().find("run a"), std::string::npos);
}

TEST(JournalTest, WithoutAFileKeepsNothing) {
  Journal journal = Journal::Open("", "run").value();
  ASSERT_TRUE(journal.Add(1, {1}).ok());
  EXPECT_EQ(journal.Find(1), nullptr);
  EXPECT_FALSE(Journal::Open("/nowhere/journal", "run").ok());
}

}  // namespace
}  // namespace skipstone::quality
