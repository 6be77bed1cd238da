// What GetModel tells of experiments is in info_command_test.
#include "server/describe.h"

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/test_levels.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

v1::GetModelResponse ModelOf(FakeServer& server) {
  grpc::ClientContext context;
  v1::GetModelResponse model;
  EXPECT_TRUE(server.stub().GetModel(&context, {}, &model).ok());
  return model;
}

TEST(DescribeTest, AppliedSkipListsTheLayers) {
  SkipSet skip(4);
  skip.SkipAttention(2);
  skip.SkipAttention(3);
  skip.SkipMlp(0);
  const v1::AppliedSkip applied = AppliedSkipOf({"deep", skip}, "e", "a");
  EXPECT_EQ(applied.level(), "deep");
  EXPECT_EQ(applied.spec(), "attn:2-3+mlp:0");
  EXPECT_EQ(applied.skip_id(), skip.id());
  EXPECT_THAT(applied.layers().attention(), ElementsAre(2, 3));
  EXPECT_THAT(applied.layers().mlp(), ElementsAre(0));
  EXPECT_EQ(applied.experiment() + "/" + applied.arm(), "e/a");
}

TEST(DescribeTest, AppliedSkipListsTheWindows) {
  SkipSet skip(4);
  skip.SkipAttention(3);
  skip.WindowAttention(1, 64);
  skip.WindowAttention(2, 24);
  const v1::AppliedSkip applied = AppliedSkipOf({.name = "near", .skip = skip}, "", "");
  EXPECT_EQ(applied.spec(), "attn:3+win:1/64,2/24");
  EXPECT_EQ(applied.skip_id(), skip.id());
  EXPECT_THAT(applied.layers().attention(), ElementsAre(3));
  ASSERT_EQ(applied.layers().windowed_size(), 2);
  EXPECT_EQ(applied.layers().windowed(0).layer(), 1u);
  EXPECT_EQ(applied.layers().windowed(0).tokens(), 64u);
  EXPECT_EQ(applied.layers().windowed(1).layer(), 2u);
  EXPECT_EQ(applied.layers().windowed(1).tokens(), 24u);
}

TEST(DescribeTest, AppliedSkipTellsTheMaps) {
  TestLevels levels(1, 4, 8);
  const SkipSet skip = levels.Add("a", "attn:3", "f", "rank=2").skip;
  const v1::AppliedSkip applied =
      AppliedSkipOf({.name = "a", .skip = skip, .compensation = "rank=2"}, "", "");
  const std::string hash = applied.compensation().hash();
  EXPECT_EQ(applied.compensation().name(), "rank=2");
  EXPECT_EQ(hash.size(), 16u);
  EXPECT_EQ(applied.spec(), "attn:3@" + hash);
  EXPECT_EQ(applied.skip_id(), skip.id()) << "of the text with the hash";
  EXPECT_NE(applied.skip_id(), skip.WithoutMaps().id());
  EXPECT_FALSE(AppliedSkipOf({.name = "a", .skip = skip.WithoutMaps()}, "", "").has_compensation());
}

// What a server reports can be sent back.
TEST(DescribeTest, TheLayersOfAnAppliedSkipMeanTheSameSet) {
  const auto levels = Levels::Make(ServerConfig(), 8, 4096);
  ASSERT_TRUE(levels.ok());
  for (const char* spec : {"none", "attn:6-7", "win:last=50%/64", "win:0-7/4096+mlp:1",
                           "attn:7+win:1/16,2-3/64,5/24+mlp:0,7", "attn:0-7+mlp:0-6"}) {
    v1::Skip skip;
    skip.set_spec(spec);
    const SkipSet set = levels->Choose(skip)->skip;
    *skip.mutable_layers() = AppliedSkipOf({.name = "", .skip = set}, "", "").layers();
    EXPECT_EQ(levels->Choose(skip)->skip, set) << spec;
  }
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
  EXPECT_THAT(text, testing::Not(testing::ContainsRegex("quality_kl_nats.*level=\"b\"")));
  EXPECT_THAT(text, testing::ContainsRegex("quality_kl_nats.*level=\"full\".* 0\n"));
}

}  // namespace
}  // namespace skipstone::server
