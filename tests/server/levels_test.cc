#include "server/levels.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int kLayers = 8;
constexpr int kContext = 128;

ServerConfig WithLevels(std::vector<LevelConfig> levels, const std::string& max = "") {
  ServerConfig config;
  config.levels = std::move(levels);
  config.policy.max_skipped_attention = max;
  return config;
}

std::string ErrorOf(const ServerConfig& config) {
  const auto levels = Levels::Make(config, kLayers, kContext);
  EXPECT_EQ(levels.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(levels.status().message());
}

TEST(LevelsTest, WithoutAConfigurationThereIsOneLevel) {
  const auto levels = Levels::Make(ServerConfig(), kLayers, kContext);
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
  const auto levels = Levels::Make(config, kLayers, kContext);
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
  EXPECT_TRUE(
      Levels::Make(WithLevels({{"full", "none"}, {"a.b_c-9", "none"}}), kLayers, kContext).ok());
  EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}, {"a", "attn:8"}})), HasSubstr("levels.a: "));
  EXPECT_THAT(ErrorOf(WithLevels({{"a", "none"}})), HasSubstr("default_level: no level 'full'"));
  EXPECT_THAT(ErrorOf(WithLevels({})), HasSubstr("default_level"));
}

TEST(LevelsTest, LimitsTheSkippedAttention) {
  const LevelConfig half{"half", "attn:last=4"};
  // Percentages are rounded as in the grammar: 44 % of 8 layers are 4.
  for (const std::string max : {"50%", "4", "44%", "100%", "99"}) {
    EXPECT_TRUE(Levels::Make(WithLevels({{"full", "none"}, half}, max), kLayers, kContext).ok())
        << max;
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

TEST(LevelsTest, LimitsTheWindowedAttention) {
  ServerConfig config = WithLevels({{"full", "none"}, {"near", "win:last=4/64"}}, "0%");
  EXPECT_EQ(Levels::Make(config, kLayers, kContext)->max_windowed_attention(), kLayers)
      << "all by default; what is windowed is not skipped";
  for (const std::string max : {"50%", "4", "100%"}) {
    config.policy.max_windowed_attention = max;
    EXPECT_TRUE(Levels::Make(config, kLayers, kContext).ok()) << max;
  }
  for (const std::string max : {"43%", "3", "0"}) {
    config.policy.max_windowed_attention = max;
    EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("levels.near: 4 attention sublayers are windowed"),
                                       HasSubstr("of 8 (policy.max_windowed_attention)")));
  }
  config.policy.max_windowed_attention = "all";
  EXPECT_THAT(ErrorOf(config), HasSubstr("policy.max_windowed_attention: 'all'"));
}

TEST(LevelsTest, LimitsTheWidthOfWindows) {
  ServerConfig config = WithLevels({{"full", "none"}, {"near", "win:5/128,6/32,7/64"}});
  EXPECT_EQ(Levels::Make(config, kLayers, kContext)->min_window(), 16);
  config.policy.min_window = 32;
  EXPECT_TRUE(Levels::Make(config, kLayers, 128).ok()) << "as wide as the context";
  EXPECT_THAT(std::string(Levels::Make(config, kLayers, 127).status().message()),
              HasSubstr("levels.near: layer 5 has a window of 128 tokens, the model's context is "
                        "127"));
  config.policy.min_window = 33;
  EXPECT_THAT(ErrorOf(config), HasSubstr("levels.near: layer 6 has a window of 32 tokens, the "
                                         "policy's least is 33 (policy.min_window)"));
}

v1::Skip WithWindows(const std::vector<std::pair<uint32_t, uint32_t>>& windows) {
  v1::Skip skip;
  skip.mutable_layers();
  for (const auto& [layer, tokens] : windows) {
    v1::WindowedLayer* windowed = skip.mutable_layers()->add_windowed();
    windowed->set_layer(layer);
    windowed->set_tokens(tokens);
  }
  return skip;
}

TEST(LevelsTest, ChoosesWindowsByLayers) {
  ServerConfig config = WithLevels({{"full", "none"}});
  config.policy.min_window = 24;
  const auto levels = Levels::Make(config, kLayers, kContext);
  v1::Skip skip = WithWindows({{7, 64}, {5, 32}, {7, 64}});
  skip.mutable_layers()->add_attention(6);
  skip.mutable_layers()->add_mlp(7);
  EXPECT_EQ(levels->Choose(skip)->skip.ToString(), "attn:6+win:5/32,7/64+mlp:7");
  const auto error = [&](const v1::Skip& wrong) {
    const auto level = levels->Choose(wrong);
    EXPECT_TRUE(absl::IsInvalidArgument(level.status())) << wrong.DebugString();
    return std::string(level.status().message());
  };
  const std::string at = "skip.layers.windowed[1]: ";
  EXPECT_THAT(error(WithWindows({{0, 64}, {8, 64}})),
              StartsWith(at + "layer 8 is outside the model's 8 layers"));
  EXPECT_THAT(error(WithWindows({{0, 64}, {0xffffffff, 64}})), StartsWith(at + "layer 4294967295"));
  for (const uint32_t tokens : {0u, 8u, 63u, 262152u, 1000000000u, 0xffffffffu}) {
    EXPECT_THAT(error(WithWindows({{0, 64}, {1, tokens}})),
                StartsWith(at + std::to_string(tokens) +
                           " is not a window, which is a multiple of 8 from 16 to 262144 tokens"));
  }
  EXPECT_THAT(error(WithWindows({{3, 64}, {3, 72}})),
              StartsWith(at + "layer 3 has windows of 64 and of 72 tokens"));
  skip = WithWindows({{0, 64}, {6, 64}});
  skip.mutable_layers()->add_attention(6);
  EXPECT_THAT(error(skip),
              StartsWith(at + "the attention of layer 6 is both windowed and skipped"));
  EXPECT_THAT(error(WithWindows(std::vector<std::pair<uint32_t, uint32_t>>(9, {0, 64}))),
              StartsWith("skip.layers.windowed: 9 layers are listed, the model has 8"));
  EXPECT_THAT(
      error(WithWindows({{0, 136}})),
      StartsWith("skip.layers: layer 0 has a window of 136 tokens, the model's context is"));
  EXPECT_THAT(error(WithWindows({{0, 16}})), HasSubstr("policy's least is 24"));
}

TEST(LevelsTest, ChoosesByLevelSpecOrLayers) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=2"}}), kLayers, kContext);
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
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=4"}}), kLayers, kContext);
  const Level chosen = *levels->Find("deep");
  v1::Skip skip;
  EXPECT_EQ(levels->Ceiling(skip, chosen).value(), std::nullopt);
  skip.mutable_adaptive()->set_ceiling_level("deep");
  EXPECT_EQ(levels->Ceiling(skip, chosen).value(), std::nullopt) << "no more than the choice";
  EXPECT_EQ(levels->Ceiling(skip, {.skip = SkipSet(kLayers)}).value(), chosen.skip);
  skip.mutable_adaptive()->set_ceiling_spec("attn:last=5+mlp:7");
  EXPECT_EQ(levels->Ceiling(skip, chosen).value()->ToString(), "attn:3-7+mlp:7");
  skip.mutable_adaptive()->set_ceiling_spec("attn:last=3+mlp:7");
  EXPECT_TRUE(absl::IsInvalidArgument(levels->Ceiling(skip, chosen).status()));
  skip.mutable_adaptive()->set_ceiling_level("full");
  EXPECT_TRUE(absl::IsInvalidArgument(levels->Ceiling(skip, chosen).status()));
  skip.mutable_adaptive()->set_ceiling_level("deeper");
  EXPECT_TRUE(absl::IsNotFound(levels->Ceiling(skip, chosen).status()));
}

TEST(LevelsTest, ACeilingKeepsTheWindowsOfTheChoice) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"near", "win:6-7/64+mlp:7"}}), kLayers, kContext);
  const Level chosen = *levels->Find("near");
  const auto ceiling = [&](const std::string& spec) {
    v1::Skip skip;
    skip.mutable_adaptive()->set_ceiling_spec(spec);
    const auto found = levels->Ceiling(skip, chosen);
    EXPECT_TRUE(found.ok() || absl::IsInvalidArgument(found.status()));
    return found.ok() ? (*found)->ToString() : std::string(found.status().message());
  };
  EXPECT_EQ(ceiling("win:5/32,6-7/64+mlp:7"), "win:5/32,6-7/64+mlp:7");
  EXPECT_EQ(ceiling("attn:7+win:6/64+mlp:7"), "attn:7+win:6/64+mlp:7");
  EXPECT_EQ(
      ceiling("win:6/64,7/32+mlp:7"),
      "skip.adaptive: the ceiling win:6/64,7/32+mlp:7 does not contain the choice "
      "win:6-7/64+mlp:7: the attention of layer 7 goes from a window of 64 tokens to a window "
      "of 32 tokens");
  EXPECT_THAT(ceiling("win:6/72,7/64+mlp:7"),
              HasSubstr("the attention of layer 6 goes from a window of 64 tokens to a window of "
                        "72 tokens"));
  EXPECT_THAT(ceiling("attn:6+mlp:7"), HasSubstr("of layer 7 goes from a window of 64 tokens to "
                                                 "full"));
  EXPECT_THAT(ceiling("attn:6-7"), HasSubstr("the MLP of layer 7 goes from skipped to kept"));
}

TEST(LevelsTest, ACeilingNamesTheLayerThatItWouldTakeBack) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=4"}}), kLayers, kContext);
  v1::Skip skip;
  skip.mutable_adaptive()->set_ceiling_spec("attn:4,6-7+win:5/64");
  EXPECT_THAT(std::string(levels->Ceiling(skip, *levels->Find("deep")).status().message()),
              HasSubstr("the attention of layer 5 goes from skipped to a window of 64 tokens"));
}

TEST(LevelsTest, NamesASetByItsLevel) {
  const auto levels =
      Levels::Make(WithLevels({{"full", "none"}, {"deep", "attn:last=2"}}), kLayers, kContext);
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
