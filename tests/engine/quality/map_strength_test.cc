#include "engine/quality/map_strength.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "tests/engine/quality/quality_model.h"

namespace skipstone::quality {
namespace {

constexpr int kTokens = 24;

class MapStrengthTest : public testing::Test {
 protected:
  MapStrengthTest() {
    for (const int layer : {8, 10, 11}) level_.skip.SkipAttention(layer);
  }
  double Kl(const Level& level) { return trials_.Measure(level).value().kl; }

  QualityModel model_;
  std::unique_ptr<WindowPass> pass_ = model_.Pass({.window = kTokens, .variants = 6});
  Windows windows_ = SomeWindows(4, kTokens, model_.loaded.config.shape.vocab);
  Journal none_;
  Trials trials_{*pass_, windows_, none_, Trials::Options()};
  Level level_{.skip = SkipSet(model_.layers())};
};

TEST_F(MapStrengthTest, HarmfulMapsAreLeftOut) {
  FittedMap harmful;
  harmful.bias.assign(model_.loaded.config.shape.hidden, 3);
  level_.fitted = trials_.Fit(level_.skip, {MapForm::Kind::kBias}).value();
  level_.fitted[AttentionPoint(10)] = std::make_shared<const FittedMap>(harmful);
  const Level chosen = ChooseStrengths(trials_, level_).value();
  EXPECT_FALSE(chosen.fitted.contains(AttentionPoint(10)));
  EXPECT_EQ(chosen.skip, level_.skip);
  EXPECT_LT(Kl(chosen), Kl(level_));
}

TEST_F(MapStrengthTest, NeverCostsMoreThanTheWholeMaps) {
  for (const MapForm::Kind kind : {MapForm::Kind::kBias, MapForm::Kind::kDiagonal}) {
    level_.fitted = trials_.Fit(level_.skip, {kind}).value();
    EXPECT_LE(Kl(ChooseStrengths(trials_, level_).value()), Kl(level_));
  }
}

TEST_F(MapStrengthTest, MapsThatHelpAreKept) {
  level_.fitted = trials_.Fit(level_.skip, {MapForm::Kind::kDiagonal}).value();
  const Level chosen = ChooseStrengths(trials_, level_).value();
  EXPECT_FALSE(chosen.fitted.empty());
  EXPECT_LT(Kl(chosen), Kl(Level{.skip = level_.skip}));
}

TEST(ScaledTest, ScalesWhatIsAddedOnce) {
  const FittedMap map{.bias = {1, 2}, .scale = {3, 4}, .down = {5, 6}, .up = {7, 8}};
  const FittedMap half = Scaled(map, 0.5f);
  EXPECT_THAT(half.bias, testing::ElementsAre(0.5f, 1));
  EXPECT_THAT(half.scale, testing::ElementsAre(1.5f, 2));
  EXPECT_THAT(half.down, testing::ElementsAre(5, 6));
  EXPECT_THAT(half.up, testing::ElementsAre(3.5f, 4));
}

}  // namespace
}  // namespace skipstone::quality
