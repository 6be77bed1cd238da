#include "tools/sim/trace.h"

#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/test_data.h"

namespace skipstone {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::vector<TraceRow>> Read(const std::string& text) {
  std::istringstream in(text);
  return ReadTrace(in);
}

TEST(TraceTest, ReadsSecondsAndCountsFromTheFirst) {
  const auto rows = Read("5.5,10,2\n\n 6.25 , 20 , 3 \n6.25,0,1\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ((*rows)[0].arrival, Duration(0));
  EXPECT_EQ((*rows)[1].arrival, std::chrono::milliseconds(750));
  EXPECT_EQ((*rows)[1].prompt_tokens, 20);
  EXPECT_EQ((*rows)[1].output_tokens, 3);
}

TEST(TraceTest, ReadsDatesBehindAHeader) {
  const auto rows = Read(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2023-11-16 18:15:46.6805900,374,44\n2023-11-17 00:00:00.0000000,396,109\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_NEAR(Seconds((*rows)[1].arrival), 20653.31941, 1e-9);
}

TEST(TraceTest, ErrorsNameTheLine) {
  EXPECT_THAT(std::string(Read("").status().message()), HasSubstr("no rows"));
  EXPECT_THAT(std::string(Read("header\n").status().message()), HasSubstr("no rows"));
  EXPECT_THAT(std::string(Read("1,2,3\nx,2,3\n").status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(Read("1,2,3\n1,2\n").status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(Read("1,2,3\n1,-2,3\n").status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(Read("1,2,3\nnan,2,3\n").status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(Read("1,2,3\n1e10,2,3\n").status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(Read("1,2,3\n9999-01-01 00:00:00,2,3\n").status().message()),
              HasSubstr("line 2"));
  EXPECT_THAT(std::string(Read("2,2,3\n1,2,3\n").status().message()),
              HasSubstr("arrives before the line above it"));
}

TEST(TraceTest, ReadsTheAzureConversationTrace) {
  const std::string path = SharedDataPath("load/azure-llm-2023/AzureLLMInferenceTrace_conv.csv");
  if (path.empty()) GTEST_SKIP() << "the trace is not on this machine";
  std::ifstream file(path);
  const auto rows = ReadTrace(file);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 19366u);
}

}  // namespace
}  // namespace skipstone
