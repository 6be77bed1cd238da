#include "server/levels.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

constexpr int kLayers = 8;

ServerConfig WithLevels(std::vector<LevelConfig> levels, const std::string& max = "") {
  ServerConfig config;
  config.levels = std::move(levels);
  config.policy.max_skipped_attention = max;
  return config;
}

std::string ErrorOf(const ServerConfig& config) {
  const auto levels = Levels::Make(config, kLayers);
  EXPECT_EQ(levels.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(levels.status().message());
}

TEST(LevelsTest, WithoutAConfigurationThereIsOneLevel) {
  const auto levels = Levels::Make(ServerConfig(), kLayers);
  ASSERT_TRUE(levels.ok());
  ASSERT_EQ(levels->all().size(), 1u);
  EXPECT_EQ(levels->default_level().name, "full");
  EXPECT_EQ(levels->default_level().skip.ToString(), "none");
  EXPECT_TRUE(levels->allow_custom());
  EXPECT_EQ(levels->max_skipped_attention(), kLayers);
}

TEST(LevelsTest, FindsLevelsByName) {
  ServerConfig config = WithLevels({{"full", "none"}, {"a-25", "attn:last=25%"}, {"b", "block:7"}});
  config.default_level = "a-25";
  const auto levels = Levels::Make(config, kLayers);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_EQ(levels->default_level().name, "a-25");
  EXPECT_EQ(levels->Find("a-25")->skip.ToString(), "attn:6-7");
  EXPECT_EQ(levels->Find("b")->skip.ToString(), "attn:7+mlp:7");
  const auto unknown = levels->Find("c");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.status().message()),
              HasSubstr("'c'; the levels are: full, a-25, b"));
}

TEST(LevelsTest, NamesMalformedLevels) {
  for (const std::string name :
       {"none", "custom", "Full", "9a", "-a", "a b", "a\"b", "", "caf\u00e9"}) {
    EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}, {name, "none"}})),
                HasSubstr("'" + name + "' is not a level name"));
  }
  EXPECT_TRUE(Levels::Make(WithLevels({{"full", "none"}, {"a.b_c-9", "none"}}), kLayers).ok());
  EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}, {"a", "attn:8"}})), HasSubstr("levels.a: "));
  EXPECT_THAT(ErrorOf(WithLevels({{"a", "none"}})), HasSubstr("default_level: no level 'full'"));
  EXPECT_THAT(ErrorOf(WithLevels({})), HasSubstr("default_level"));
}

TEST(LevelsTest, LimitsTheSkippedAttention) {
  const LevelConfig half{"half", "attn:last=4"};
  // Percentages are rounded as in the grammar: 44 % of 8 layers are 4.
  for (const std::string max : {"50%", "4", "44%", "100%", "99"}) {
    EXPECT_TRUE(Levels::Make(WithLevels({{"full", "none"}, half}, max), kLayers).ok()) << max;
  }
  for (const std::string max : {"43%", "3", "0", "0%"}) {
    EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}, half}, max)),
                HasSubstr("levels.half: 4 attention sublayers are skipped"));
  }
  for (const std::string max : {"x", "-1", "101%", "%", "1.5"}) {
    EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}}, max)),
                HasSubstr("policy.max_skipped_attention: '" + max + "'"));
  }
}

TEST(LevelsTest, ChoosesByLevelSpecOrLayers) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=2"}}), kLayers);
  v1::Skip skip;
  skip.set_level("deep");
  EXPECT_EQ(levels->Choose(skip)->name, "deep");
  skip.set_spec("attn:last=2");
  EXPECT_EQ(levels->Choose(skip)->name, "custom") << "a spec is not a level, even an equal one";
  skip.mutable_layers()->add_attention(7);
  skip.mutable_layers()->add_attention(7);
  skip.mutable_layers()->add_mlp(0);
  EXPECT_EQ(levels->Choose(skip)->skip.ToString(), "attn:7+mlp:0");
  skip.mutable_layers()->Clear();
  EXPECT_EQ(levels->Choose(skip)->skip.ToString(), "none");
}

TEST(LevelsTest, ACeilingContainsTheChoice) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=4"}}), kLayers);
  const SkipSet chosen = levels->Find("deep")->skip;
  v1::Skip skip;
  EXPECT_EQ(levels->Ceiling(skip, chosen).value(), std::nullopt);
  skip.mutable_adaptive()->set_ceiling_level("deep");
  EXPECT_EQ(levels->Ceiling(skip, chosen).value(), std::nullopt) << "no more than the choice";
  EXPECT_EQ(levels->Ceiling(skip, SkipSet(kLayers)).value(), chosen);
  skip.mutable_adaptive()->set_ceiling_spec("attn:last=5+mlp:7");
  EXPECT_EQ(levels->Ceiling(skip, chosen).value()->ToString(), "attn:3-7+mlp:7");
  skip.mutable_adaptive()->set_ceiling_spec("attn:last=3+mlp:7");
  EXPECT_TRUE(absl::IsInvalidArgument(levels->Ceiling(skip, chosen).status()));
  skip.mutable_adaptive()->set_ceiling_level("full");
  EXPECT_TRUE(absl::IsInvalidArgument(levels->Ceiling(skip, chosen).status()));
  skip.mutable_adaptive()->set_ceiling_level("deeper");
  EXPECT_TRUE(absl::IsNotFound(levels->Ceiling(skip, chosen).status()));
}

TEST(LevelsTest, NamesASetByItsLevel) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=2"}}), kLayers);
  SkipSet skip(kLayers);
  EXPECT_EQ(levels->LevelOf(skip).name, "full");
  skip.SkipAttention(7);
  EXPECT_EQ(levels->LevelOf(skip).name, "custom");
  EXPECT_EQ(levels->LevelOf(skip).skip, skip);
  skip.SkipAttention(6);
  EXPECT_EQ(levels->LevelOf(skip).name, "deep");
}

}  // namespace
}  // namespace skipstone::server
