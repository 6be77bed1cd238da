// What GetModel tells of levels; that of experiments is in grpc_port_test and info_command_test.
#include "server/describe.h"

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/test_levels.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

v1::GetModelResponse ModelOf(FakeServer& server) {
  grpc::ClientContext context;
  v1::GetModelResponse model;
  EXPECT_TRUE(server.stub().GetModel(&context, {}, &model).ok());
  return model;
}

TEST(DescribeTest, LevelsOfAFileHaveCompensationQualityAndSavings) {
  TestLevels levels(0x5eed, 4, 8);
  CalibratedLevel& from = levels.Add("deep-diag", "attn:last=2", "suffix", "diag");
  from.quality = TestQuality(0.5);
  from.quality->retention = Measured{0.75, 0.5, 1};
  from.decode_ms_saved = 1.25;
  from.sheds_to_identity = true;
  FakeServer server({.levels_file = levels.file});
  const v1::GetModelResponse model = ModelOf(server);
  EXPECT_TRUE(model.levels_measured());
  EXPECT_EQ(model.levels_unmeasured_reason(), "");
  ASSERT_EQ(model.levels_size(), 2);
  EXPECT_FALSE(model.levels(0).has_compensation());
  EXPECT_FALSE(model.levels(0).has_quality());
  const v1::Level& level = model.levels(1);
  const std::string hash = absl::StrFormat("%016x", from.skip.maps_hash());
  EXPECT_EQ(level.name(), "deep-diag");
  EXPECT_EQ(level.spec(), "attn:2-3@" + hash);
  EXPECT_EQ(level.skip_id(), from.skip.id());
  EXPECT_EQ(level.compensation().name(), "diag");
  EXPECT_EQ(level.compensation().hash(), hash);
  EXPECT_EQ(level.family(), "suffix");
  EXPECT_TRUE(level.sheds_to_identity());
  EXPECT_EQ(level.decode_ms_saved(), 1.25);
  EXPECT_FALSE(level.has_pages_saved());
  const v1::LevelQuality& quality = level.quality();
  EXPECT_EQ(quality.kl_nats().value(), 0.5);
  EXPECT_EQ(quality.kl_nats().low(), 0.4);
  EXPECT_EQ(quality.kl_nats().high(), 0.625);
  EXPECT_EQ(quality.perplexity().value(), 70.25);
  EXPECT_EQ(quality.agreement().low(), 0.4);
  EXPECT_EQ(quality.retention().value(), 0.75);
  EXPECT_EQ(quality.choice().value(), -0.03);
  EXPECT_FALSE(quality.has_recall());
}

TEST(DescribeTest, WhatWasNotMeasuredIsSaid) {
  FakeServer without({.yaml = "levels: {full: none, deep: 'attn:last=1'}"});
  EXPECT_FALSE(ModelOf(without).levels_measured());
  EXPECT_THAT(ModelOf(without).levels_unmeasured_reason(), HasSubstr("there is no levels file"));
  TestLevels levels(0x5eed, 4, 8);
  levels.Add("a", "attn:3", "f").quality = TestQuality(0.5);
  FakeServer partly(
      {.yaml = "levels: {full: none, own: 'attn:last=2'}", .levels_file = levels.file});
  EXPECT_FALSE(ModelOf(partly).levels_measured());
  EXPECT_EQ(ModelOf(partly).levels_unmeasured_reason(), "the levels file has no quality of: own");
}

TEST(DescribeTest, TheMetricIsOfMeasuredLevelsOnly) {
  TestLevels levels(0x5eed, 4, 8);
  levels.Add("a", "attn:3", "f").quality = TestQuality(0.5);
  levels.Add("b", "attn:2-3", "f");
  FakeServer server({.levels_file = levels.file});
  const std::string text = ScrapeMetrics(server.server().metrics_address());
  EXPECT_EQ(SumOfSamples(text, "skipstone_level_quality_kl_nats", {"level=\"a\""}), 0.5);
  EXPECT_THAT(text, testing::Not(testing::ContainsRegex("quality_kl_nats.*level=\"(b|full)\"")));
}

}  // namespace
}  // namespace skipstone::server
