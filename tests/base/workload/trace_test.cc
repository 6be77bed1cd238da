#include "base/workload/trace.h"

#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

absl::StatusOr<std::vector<TraceRow>> Read(const std::string& text) {
  std::istringstream in(text);
  return ReadTrace(in);
}

TEST(TraceTest, SecondsCountFromTheFirstRow) {
  const auto rows = Read("arrival,prompt,output\n100.5, 12 ,3\n\n100.5,1,0\r\n 101.75,7,9");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3);
  EXPECT_EQ((*rows)[0].arrival, Duration(0));
  EXPECT_EQ((*rows)[0].prompt_tokens, 12);
  EXPECT_EQ((*rows)[0].output_tokens, 3);
  EXPECT_EQ((*rows)[1].arrival, Duration(0));
  EXPECT_EQ((*rows)[1].output_tokens, 0);
  EXPECT_EQ((*rows)[2].arrival, std::chrono::milliseconds(1250));
  EXPECT_EQ((*rows)[2].output_tokens, 9);
}

TEST(TraceTest, NeedsNoHeader) {
  const auto rows = Read("0,12,3\n2,1,1\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 2);
}

TEST(TraceTest, DatesAreExactToTheNanosecond) {
  const auto rows = Read(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2023-11-16 18:15:46.6805900,374,44\n2023-11-17 00:00:00.0000000,396,109\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ((*rows)[1].arrival, Duration(20653'319'410'000));
  EXPECT_EQ((*rows)[1].prompt_tokens, 396);
}

TEST(TraceTest, ErrorsNameTheLine) {
  for (const char* line :
       {"1,2", "1,2,3,4", "soon,2,3", "1,-2,3", "1,2,3.5", "nan,2,3", "inf,2,3", "1,4294967296,3",
        "2023-13-16 18:15:46,1,1", "1e10,2,3", "9999-01-01 00:00:00,2,3"}) {
    const auto rows = Read("0,1,1\n" + std::string(line) + "\n");
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(rows.status().message()), AllOf(HasSubstr("line 2"), HasSubstr(line)));
  }
}

TEST(TraceTest, ArrivalsDoNotGoBack) {
  const auto rows = Read("h\n5,1,1\n\n4.9,1,1\n");
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(rows.status().message()),
              AllOf(HasSubstr("line 4"), HasSubstr("arrives before the line above it")));
}

TEST(TraceTest, EmptyTracesAreErrors) {
  for (const char* text : {"", "\n\n", "arrival,prompt,output\n"}) {
    EXPECT_THAT(std::string(Read(text).status().message()), HasSubstr("no rows"));
  }
}

TEST(TraceTest, FilesAreNamedInErrors) {
  const TempDir dir;
  const std::string path = dir.Write("trace.csv", "0,1,1\n1,two,3\n");
  EXPECT_THAT(std::string(ReadTraceFile(path).status().message()),
              StartsWith("--trace " + path + ": trace line 2: "));
  EXPECT_EQ(ReadTraceFile(dir.path() + "/none.csv").status(),
            absl::NotFoundError("--trace: cannot read \"" + dir.path() + "/none.csv\""));
}

TEST(TraceTest, ReadsTheAzureConversationTrace) {
  const std::string path = SharedDataPath("load/azure-llm-2023/AzureLLMInferenceTrace_conv.csv");
  if (path.empty()) GTEST_SKIP() << "the trace is not on this machine";
  const auto rows = ReadTraceFile(path);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->size(), 19366u);
}

}  // namespace
}  // namespace skipstone
