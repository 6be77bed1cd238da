#include "base/quality/label_layout.h"

#include <utility>
#include <vector>

#include "base/hash.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

constexpr Box kRoom = {0, 0, 540, 320};

double Even(uint64_t i) { return static_cast<double>(Mix64(i) >> 11) * 0x1p-53; }

TEST(LabelLayoutTest, APointAloneHasItsLabelToTheRight) {
  LabelLayout layout(kRoom, {{100, 100}});
  const auto spot = layout.Place(100, 100, 50);
  ASSERT_TRUE(spot);
  EXPECT_FALSE(spot->is_far);
  EXPECT_EQ(spot->box.left, 108);
  EXPECT_EQ(spot->box.right, 158);
}

TEST(LabelLayoutTest, AtTheEdgeItGoesToTheOtherSide) {
  LabelLayout layout(kRoom, {{530, 100}});
  EXPECT_LT(layout.Place(530, 100, 50)->box.right, 530);
}

TEST(LabelLayoutTest, NoLabelLiesOnAnotherNorOnAPoint) {
  int placed = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<std::pair<double, double>> points;
    for (uint64_t i = 0; i < 24; ++i) {
      const uint64_t at = Mix64(seed) + 2 * i;
      // Half of them crowd in a corner.
      const double spread = i % 2 == 0 ? 0.1 : 0.9;
      points.emplace_back(20 + spread * 500 * Even(at), 10 + spread * 300 * Even(at + 1));
    }
    LabelLayout layout(kRoom, points);
    std::vector<Box> boxes;
    for (const auto& [x, y] : points) {
      const auto spot = layout.Place(x, y, 90);
      if (!spot) continue;
      EXPECT_GE(spot->box.left, kRoom.left);
      EXPECT_LE(spot->box.right, kRoom.right);
      EXPECT_GE(spot->box.top, kRoom.top);
      EXPECT_LE(spot->box.bottom, kRoom.bottom);
      for (const Box& other : boxes) EXPECT_FALSE(spot->box.Overlaps(other));
      for (const auto& [px, py] : points) {
        EXPECT_FALSE(spot->box.Overlaps({px - 5, py - 5, px + 5, py + 5}));
      }
      boxes.push_back(spot->box);
    }
    placed += boxes.size();
  }
  EXPECT_GE(placed, 50 * 24 * 95 / 100);
}

TEST(LabelLayoutTest, NothingWhereThereIsNoRoom) {
  LabelLayout layout({0, 0, 60, 20}, {{30, 10}});
  EXPECT_FALSE(layout.Place(30, 10, 50));
}

TEST(LabelLayoutTest, LabelsAreCutBetweenCharacters) {
  EXPECT_EQ(ShortLabel("attn:last=33%"), "attn:last=33%");
  std::string accents;
  for (int i = 0; i < 40; ++i) accents += "\u00e9";
  EXPECT_EQ(ShortLabel(accents), accents.substr(0, 56) + "\u2026");
  EXPECT_EQ(LabelWidth("abc"), 3 * LabelWidth("m"));
  EXPECT_GT(LabelWidth("\u6f22"), LabelWidth("m"));
}

}  // namespace
}  // namespace skipstone::quality
