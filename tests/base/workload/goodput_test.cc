#include "base/workload/group_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

// TTFT 100 ms, gaps 10 and 30 ms, TPOT 20 ms, E2E 150 ms.
RequestRecord Record() {
  RequestRecord record{.due = Time(milliseconds(1000))};
  for (const int ms : {100, 110, 140}) record.AddTokens(record.due + milliseconds(ms), 1);
  record.ended = record.due + milliseconds(150);
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

TEST(GoodputTest, OneTokenHasNoGapAndNoTimePerToken) {
  RequestRecord record;
  record.AddTokens(Time(milliseconds(5)), 1);
  record.ended = Time(milliseconds(5));
  EXPECT_TRUE(Kept("tpot:0.001,itl:0.001", record));
}

TEST(GoodputTest, ErrorsNameTheTerm) {
  for (const char* term :
       {"", "ttft", "ttft:", "ttft:x", "ttft:0", "ttft:-1", "ttft:nan", "foo:1", "ttft:1:2"}) {
    const auto parsed = ParseGoodput("e2e:5," + std::string(term));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << term;
    EXPECT_THAT(std::string(parsed.status().message()),
                HasSubstr("\"" + std::string(term) + "\" is not"));
  }
}

}  // namespace
}  // namespace skipstone
