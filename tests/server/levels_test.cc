#include "server/levels.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/test_levels.h"

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

// Two families on 8 layers: a suffix with maps and a plain one beside it, and a free set.
class LevelsFileLevelsTest : public testing::Test {
 protected:
  LevelsFileLevelsTest() : levels_(7, kLayers, 4) {
    levels_.Add("small-diag", "attn:last=2", "suffix", "diag").quality = TestQuality(0.25);
    levels_.Add("large-diag", "attn:last=4", "suffix", "diag");
    levels_.Add("small", "attn:last=2", "suffix").quality = TestQuality(0.5);
    levels_.file.levels[0].decode_ms_saved = 1.5;
    levels_.file.levels[0].sheds_to_identity = true;
  }
  absl::StatusOr<Levels> Make(const ServerConfig& config) const {
    return Levels::Make(config, kLayers, kContext, &levels_.file);
  }
  std::string ErrorOf(const ServerConfig& config) const {
    const auto levels = Make(config);
    EXPECT_TRUE(absl::IsInvalidArgument(levels.status())) << levels.status();
    return std::string(levels.status().message());
  }

  TestLevels levels_;
};

TEST_F(LevelsFileLevelsTest, JoinThoseOfTheConfiguration) {
  ServerConfig config = WithLevels({{"full", "none"}, {"own", "attn:7"}});
  config.default_level = "small-diag";
  const auto levels = Make(config);
  ASSERT_TRUE(levels.ok()) << levels.status();
  std::vector<std::string> names;
  for (const Level& level : levels->all()) names.push_back(level.name);
  EXPECT_EQ(names, (std::vector<std::string>{"full", "own", "small-diag", "large-diag", "small"}));
  const Level& level = levels->default_level();
  EXPECT_EQ(level.name, "small-diag");
  EXPECT_EQ(level.skip, levels_.file.levels[0].skip) << "with its maps";
  EXPECT_TRUE(level.skip.HasMaps());
  EXPECT_EQ(level.compensation, "diag");
  EXPECT_EQ(level.family, "suffix");
  EXPECT_TRUE(level.sheds_to_identity);
  EXPECT_EQ(level.quality->kl.value, 0.25);
  EXPECT_EQ(level.decode_ms_saved, 1.5);
  EXPECT_EQ(levels->Find("own")->family, "");
  EXPECT_EQ(levels->LevelOf(level.skip).name, "small-diag");
  EXPECT_EQ(levels->LevelOf(level.skip.WithoutMaps()).name, "small") << "other maps, another level";
}

TEST_F(LevelsFileLevelsTest, ANameInBothIsAnError) {
  EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}, {"small", "attn:7"}})),
              HasSubstr("the level 'small' stands in the configuration and in the levels file"));
}

TEST_F(LevelsFileLevelsTest, ThePolicyBoundsThem) {
  EXPECT_THAT(ErrorOf(WithLevels({{"full", "none"}}, "3")),
              HasSubstr("level large-diag of the levels file: 4 attention sublayers are skipped"));
}

TEST_F(LevelsFileLevelsTest, AnotherNumberOfLayersIsAnError) {
  const auto levels = Levels::Make(WithLevels({{"full", "none"}}), 9, kContext, &levels_.file);
  EXPECT_THAT(std::string(levels.status().message()),
              HasSubstr("the levels file is of a model of 8 layers, this one has 9"));
}

TEST_F(LevelsFileLevelsTest, ASpecTakesTheMapsThatItNames) {
  const auto levels = Make(WithLevels({{"full", "none"}, {"mine", "attn:last=25%@diag"}}));
  ASSERT_TRUE(levels.ok()) << levels.status();
  const Level mine = *levels->Find("mine");
  EXPECT_EQ(mine.skip, levels_.file.levels[0].skip);
  EXPECT_EQ(mine.compensation, "diag");
  EXPECT_EQ(mine.quality->kl.value, 0.25) << "what was measured is of the set, not of its name";
  EXPECT_EQ(Make(WithLevels({{"full", "none"}, {"p", "attn:6-7"}}))->Find("p")->quality->kl.value,
            0.5);
  const auto error = [&](const std::string& spec) {
    return ErrorOf(WithLevels({{"full", "none"}, {"mine", spec}}));
  };
  EXPECT_THAT(error("attn:7@diag"),
              StartsWith("levels.mine: the levels file has no level attn:7@diag; with maps it has: "
                         "attn:6-7@diag, attn:4-7@diag"));
  EXPECT_THAT(error("attn:6-7@bias"), HasSubstr("no level attn:6-7@bias"));
  EXPECT_THAT(error("attn:6-7@"), HasSubstr("no level attn:6-7@;"));
  EXPECT_THAT(error("attn:6-9@diag"), HasSubstr("the model has 8 layers"));
  levels_.Add("again", "attn:6-7", "other", "diag");
  EXPECT_THAT(
      error("attn:6-7@diag"),
      HasSubstr("the levels small-diag and again of the levels file are both attn:6-7@diag: "
                "name one of them"));
  const auto without =
      Levels::Make(WithLevels({{"full", "none"}, {"mine", "attn:7@diag"}}), kLayers, kContext);
  EXPECT_THAT(std::string(without.status().message()),
              StartsWith("levels.mine: '@diag' names maps of a levels file, and there is none"));
}

TEST_F(LevelsFileLevelsTest, ACustomSetHasNoMaps) {
  const auto levels = Make(WithLevels({{"full", "none"}}));
  for (const std::string& spec :
       {std::string("attn:6-7@diag"), levels_.file.levels[0].skip.ToString()}) {
    v1::Skip skip;
    skip.set_spec(spec);
    const auto chosen = levels->Choose(skip);
    EXPECT_TRUE(absl::IsInvalidArgument(chosen.status()));
    EXPECT_THAT(std::string(chosen.status().message()),
                StartsWith("skip.spec: a set of the request's own has no maps"));
    skip.mutable_adaptive()->set_ceiling_spec(spec);
    EXPECT_THAT(std::string(levels->Ceiling(skip, levels->default_level()).status().message()),
                StartsWith("skip.adaptive.ceiling_spec: a set of the request's own has no maps"));
  }
}

TEST_F(LevelsFileLevelsTest, ACeilingMayHaveMaps) {
  const auto levels = Make(WithLevels({{"full", "none"}}));
  const Level small = *levels->Find("small-diag");
  const Level large = *levels->Find("large-diag");
  v1::Skip skip;
  skip.mutable_adaptive()->set_ceiling_level("large-diag");
  EXPECT_EQ(levels->Ceiling(skip, small).value(), large.skip);
  EXPECT_EQ(levels->Ceiling(skip, large).value(), std::nullopt);
  skip.mutable_adaptive()->set_ceiling_level("small");
  EXPECT_EQ(levels->Ceiling(skip, small).value(), std::nullopt) << "it saves nothing";
  EXPECT_TRUE(absl::IsInvalidArgument(levels->Ceiling(skip, large).status()));
  skip.mutable_adaptive()->set_ceiling_spec("attn:last=4");
  EXPECT_EQ(levels->Ceiling(skip, small).value()->ToString(), "attn:4-7") << "as it allows";
}

TEST_F(LevelsFileLevelsTest, WhatWasNotMeasuredIsSaid) {
  EXPECT_EQ(Make(WithLevels({{"full", "none"}, {"own", "attn:7"}}))->WhyUnmeasured(),
            "the levels file has no quality of: own, large-diag");
  levels_.file.levels[1].quality = TestQuality(1);
  EXPECT_EQ(Make(WithLevels({{"full", "none"}}))->WhyUnmeasured(), "");
  EXPECT_THAT(Levels::Make(WithLevels({{"full", "none"}}), kLayers, kContext)->WhyUnmeasured(),
              HasSubstr("there is no levels file (--levels)"));
}

}  // namespace
}  // namespace skipstone::server
