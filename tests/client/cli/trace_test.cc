#include "client/cli/trace.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::vector<TraceRow>> Parse(const std::string& text) {
  std::istringstream in(text);
  return ParseTrace(in);
}

TEST(TraceTest, SecondsCountFromTheFirstRow) {
  const auto rows = Parse("arrival,prompt,output\n100.5, 12 ,3\n\n100.5,1,0\r\n 101.75,7,9");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3);
  EXPECT_EQ((*rows)[0].arrival_s, 0);
  EXPECT_EQ((*rows)[0].prompt_tokens, 12);
  EXPECT_EQ((*rows)[0].output_tokens, 3);
  EXPECT_EQ((*rows)[1].arrival_s, 0);
  EXPECT_EQ((*rows)[1].output_tokens, 0);
  EXPECT_EQ((*rows)[2].arrival_s, 1.25);
  EXPECT_EQ((*rows)[2].output_tokens, 9);
}

TEST(TraceTest, NeedsNoHeader) {
  const auto rows = Parse("0,12,3\n2,1,1\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 2);
}

TEST(TraceTest, DatesAndTimes) {
  const auto rows = Parse(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2023-11-16 23:59:59.9805900,4808,10\n"
      "2023-11-17 00:00:01.0305900,3180,8\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2);
  EXPECT_NEAR((*rows)[1].arrival_s, 1.05, 1e-5);
  EXPECT_EQ((*rows)[1].prompt_tokens, 3180);
}

TEST(TraceTest, ErrorsNameTheLine) {
  for (const char* line : {"1,2", "1,2,3,4", "soon,2,3", "1,-2,3", "1,2,3.5", "nan,2,3", "inf,2,3",
                           "1,4294967296,3", "2023-13-16 18:15:46,1,1"}) {
    const auto rows = Parse("0,1,1\n" + std::string(line) + "\n");
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(rows.status().message()), HasSubstr("line 2"));
    EXPECT_THAT(std::string(rows.status().message()), HasSubstr(line));
  }
}

TEST(TraceTest, ArrivalsDoNotGoBack) {
  const auto rows = Parse("h\n5,1,1\n\n4.9,1,1\n");
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(rows.status().message()), HasSubstr("line 4"));
}

TEST(TraceTest, EmptyTracesAreErrors) {
  for (const char* text : {"", "\n\n", "arrival,prompt,output\n"}) {
    EXPECT_EQ(Parse(text).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace skipstone::client
