#include "base/workload/workload.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::HasSubstr;

TEST(MixTest, PartsHaveWeights) {
  const auto mix = ParseMix("full@50;attn:last=1@12.5; block:last=2 ; none @3");
  ASSERT_TRUE(mix.ok()) << mix.status();
  ASSERT_EQ(mix->size(), 4);
  EXPECT_EQ((*mix)[0].name, "full");
  EXPECT_EQ((*mix)[0].weight, 50);
  EXPECT_EQ((*mix)[1].name, "attn:last=1");
  EXPECT_EQ((*mix)[1].weight, 12.5);
  EXPECT_EQ((*mix)[2].name, "block:last=2");
  EXPECT_EQ((*mix)[2].weight, 1);
  EXPECT_EQ((*mix)[3].name, "none");
  EXPECT_EQ((*mix)[3].weight, 3);
}

TEST(MixTest, ErrorsNameThePart) {
  for (const char* part :
       {"full@", "full@x", "full@0", "full@-1", "full@inf", "full@nan", "@50", "full@1@2", " "}) {
    const auto mix = ParseMix("none;" + std::string(part));
    EXPECT_EQ(mix.status().code(), absl::StatusCode::kInvalidArgument) << part;
    EXPECT_THAT(std::string(mix.status().message()), HasSubstr("\"" + std::string(part) + "\""));
  }
  EXPECT_FALSE(ParseMix("").ok());
  EXPECT_FALSE(ParseMix("full;").ok());
  EXPECT_THAT(std::string(ParseMix("a@1;b;a@2").status().message()), HasSubstr("\"a\""));
}

TEST(MixTest, PartsAreDrawnByWeight) {
  const auto mix = ParseMix("a@1;b@2;c@5");
  std::mt19937_64 random(7);
  std::vector<int> drawn(3);
  constexpr int kDraws = 80'000;
  for (int i = 0; i < kDraws; ++i) ++drawn[DrawPart(*mix, random)];
  // Within five standard deviations.
  EXPECT_NEAR(drawn[0], kDraws / 8, 500);
  EXPECT_NEAR(drawn[1], kDraws / 4, 650);
  EXPECT_NEAR(drawn[2], kDraws * 5 / 8, 700);
}

}  // namespace
}  // namespace skipstone
