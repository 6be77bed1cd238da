#include "base/quality/level_measure.h"

#include <limits>
#include <set>
#include <string_view>

#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

const LevelMeasure& Find(std::string_view key) {
  for (const LevelMeasure& measure : LevelMeasures()) {
    if (measure.key == key) return measure;
  }
  ADD_FAILURE() << key;
  return LevelMeasures()[0];
}

TEST(LevelMeasureTest, KeysAreUniqueAndKindsTogether) {
  std::set<std::string_view> keys;
  auto kind = LevelMeasures()[0].kind;
  for (const LevelMeasure& measure : LevelMeasures()) {
    EXPECT_TRUE(keys.insert(measure.key).second) << measure.key;
    EXPECT_GE(measure.kind, kind);
    kind = measure.kind;
  }
}

TEST(LevelMeasureTest, NumbersHaveTheirUnitAndSign) {
  LevelRow row;
  row.perplexity = Interval{61.6, 58.2, 65.125};
  row.choice = Interval{0.031, -0.01, 0.07};
  row.decode_ms = 4.5;
  const LevelMeasure& perplexity = Find("perplexity");
  EXPECT_EQ(perplexity.Text(perplexity.ValueIn(row)), "61.60");
  EXPECT_EQ(perplexity.IntervalText(row), "[58.20, 65.12]");
  EXPECT_EQ(perplexity.Text(382305104.39), "3.82e+08");
  const LevelMeasure& choice = Find("choice");
  EXPECT_EQ(choice.Text(choice.ValueIn(row)), "+3.1");
  EXPECT_EQ(choice.IntervalText(row), "[-1.0, +7.0]");
  EXPECT_EQ(choice.Text(-0.0004), "+0.0");
  const LevelMeasure& decode = Find("decode_ms");
  EXPECT_EQ(decode.Text(decode.ValueIn(row)), "4.50");
  EXPECT_EQ(decode.IntervalText(row), "");
}

TEST(LevelMeasureTest, WhatWasNotMeasuredIsADash) {
  LevelRow row;
  for (const LevelMeasure& measure : LevelMeasures()) {
    EXPECT_FALSE(measure.ValueIn(row).has_value());
    EXPECT_EQ(measure.Text(measure.ValueIn(row)), "-");
    EXPECT_EQ(measure.IntervalText(row), "");
  }
  const double infinity = std::numeric_limits<double>::infinity();
  row.perplexity = Interval{infinity, infinity, infinity};
  EXPECT_EQ(Find("perplexity").Text(infinity), "-");
  EXPECT_EQ(Find("perplexity").IntervalText(row), "");
}

}  // namespace
}  // namespace skipstone::quality
