#include "server/exposure.h"

#include <string>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ExposureTest, OnlyATraceparentIsOne) {
  const std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(TraceParentOf(parent), parent);
  EXPECT_EQ(TraceParentOf(parent + "-of-a-later-version"), parent);
  EXPECT_EQ(TraceParentOf(std::nullopt), std::nullopt);
  for (const char* invalid : {"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                              "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                              "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}) {
    EXPECT_EQ(TraceParentOf(invalid), std::nullopt) << invalid;
  }
  for (size_t i = 0; i < parent.size(); ++i) {
    std::string other = parent;
    other[i] = parent[i] == '-' ? '0' : 'G';
    EXPECT_EQ(TraceParentOf(other), std::nullopt) << other;
    EXPECT_EQ(TraceParentOf(parent.substr(0, i)), std::nullopt);
  }
}

Assignment InWindow(int64_t index) {
  Assignment assignment;
  assignment.exposures = {
      {.experiment = "e",
       .design = experiment::Design::kSwitchback,
       .arm = "a",
       .window = experiment::ExposureWindow{.index = index, .ended_index = index, .seconds = 60}},
      {.experiment = "f", .arm = "b"}};
  return assignment;
}

TEST(ExposureTest, TellsLevelAndExperimentsOfTheStart) {
  const SkipSet skip = ParseSkipSet("attn:last=2", 4).value();
  const std::chrono::system_clock::time_point now{milliseconds(1795000000123)};
  const auto record = BeginExposure(InWindow(7), {.name = "deep", .skip = skip}, now);
  EXPECT_EQ(record.time_unix_ms, 1795000000123);
  EXPECT_EQ(record.level, "deep");
  EXPECT_EQ(record.skip_id.value, skip.id());
  EXPECT_FALSE(record.compensation.has_value());
  EXPECT_EQ(record.exposures, InWindow(7).exposures);
}

TEST(ExposureTest, TellsTimesTokensAndPagesOfTheEnd) {
  experiment::ExposureRecord record;
  RequestTotals totals{.outcome = Outcome::kTimeLimit,
                       .timing = {.queue = milliseconds(10),
                                  .decode = milliseconds(900),
                                  .ttft = milliseconds(250),
                                  .e2e = milliseconds(1200),
                                  .attributed = milliseconds(300)},
                       .first_token = true,
                       .prompt_tokens = 5,
                       .completion_tokens = 20,
                       .outputs = 2,
                       .kv_pages_used = 8,
                       .kv_pages_omitted = 4};
  EndExposure(totals, record);
  EXPECT_EQ(record.outcome, "time_limit");
  EXPECT_DOUBLE_EQ(record.queue_s, 0.01);
  EXPECT_DOUBLE_EQ(record.ttft_s.value(), 0.25);
  EXPECT_DOUBLE_EQ(record.itl_mean_s.value(), 0.1) << "ten tokens an output";
  EXPECT_DOUBLE_EQ(record.e2e_s, 1.2);
  EXPECT_DOUBLE_EQ(record.attributed_s, 0.3);
  EXPECT_EQ(record.prompt_tokens, 5);
  EXPECT_EQ(record.generated_tokens, 20);
  EXPECT_EQ(record.kv_pages_used, 8);
  EXPECT_EQ(record.kv_pages_omitted, 4);

  totals.completion_tokens = 2;
  record = {};
  EndExposure(totals, record);
  EXPECT_FALSE(record.itl_mean_s.has_value()) << "nothing lies between one token";
  totals.first_token = false;
  record = {};
  EndExposure(totals, record);
  EXPECT_FALSE(record.ttft_s.has_value());
}

TEST(ExposureTest, TellsTheWindowInWhichItEnded) {
  const auto ended = [](milliseconds offset, Duration e2e) {
    auto record = BeginExposure(InWindow(7), {},
                                std::chrono::system_clock::time_point(seconds(7 * 60) + offset));
    EndExposure({.timing = {.e2e = e2e}}, record);
    EXPECT_EQ(record.exposures[0].window->index, 7);
    EXPECT_FALSE(record.exposures[1].window.has_value());
    return record.exposures[0].window->ended_index;
  };
  EXPECT_EQ(ended(milliseconds(0), Duration::zero()), 7);
  EXPECT_EQ(ended(milliseconds(59000), milliseconds(999)), 7);
  EXPECT_EQ(ended(milliseconds(59000), milliseconds(1001)), 8);
  EXPECT_EQ(ended(milliseconds(59000), seconds(125)), 10);
}

}  // namespace
}  // namespace skipstone::server
