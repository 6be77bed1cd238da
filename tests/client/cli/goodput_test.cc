#include "client/cli/goodput.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// TTFT 100 ms, gaps 10 and 30 ms, TPOT 20 ms, E2E 150 ms.
RequestRecord Record() {
  RequestRecord record;
  record.started = record.scheduled + milliseconds(1);
  record.first_token = record.scheduled + milliseconds(100);
  record.last_token = record.first_token + milliseconds(40);
  record.ended = record.scheduled + milliseconds(150);
  record.output_tokens = 3;
  record.gaps_ms = {10, 30};
  return record;
}

bool Kept(const std::string& limits, const RequestRecord& record = Record()) {
  const auto parsed = ParseGoodput(limits);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed->KeptBy(record);
}

TEST(GoodputTest, EachLimitIsKeptUpToItsValue) {
  EXPECT_TRUE(Kept("ttft:100"));
  EXPECT_FALSE(Kept("ttft:99.9"));
  EXPECT_TRUE(Kept("itl:30"));
  EXPECT_FALSE(Kept("itl:29.9"));
  EXPECT_TRUE(Kept("tpot:20"));
  EXPECT_FALSE(Kept("tpot:19.9"));
  EXPECT_TRUE(Kept("e2e:150"));
  EXPECT_FALSE(Kept("e2e:149.9"));
}

TEST(GoodputTest, AllGivenLimitsMustBeKept) {
  EXPECT_TRUE(Kept("ttft:100,itl:30,tpot:20,e2e:150"));
  EXPECT_FALSE(Kept("ttft:100,itl:30,tpot:20,e2e:149"));
  EXPECT_TRUE(GoodputLimits().KeptBy(Record()));
}

TEST(GoodputTest, OneTokenHasNoTimePerToken) {
  RequestRecord record = Record();
  record.output_tokens = 1;
  record.gaps_ms.clear();
  EXPECT_TRUE(Kept("tpot:0.001,itl:0.001", record));
}

TEST(GoodputTest, FailedRequestsKeepNoLimit) {
  RequestRecord record = Record();
  record.status = absl::UnavailableError("");
  EXPECT_FALSE(GoodputLimits().KeptBy(record));
  record = Record();
  record.output_tokens = 0;
  EXPECT_FALSE(GoodputLimits().KeptBy(record));
}

TEST(GoodputTest, ErrorsNameTheTerm) {
  for (const char* term :
       {"", "ttft", "ttft:", "ttft:x", "ttft:0", "ttft:-1", "ttft:nan", "foo:1", "ttft:1:2"}) {
    const auto parsed = ParseGoodput("e2e:5," + std::string(term));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << term;
    EXPECT_THAT(std::string(parsed.status().message()),
                HasSubstr("--goodput: \"" + std::string(term) + "\""));
  }
}

}  // namespace
}  // namespace skipstone::client
