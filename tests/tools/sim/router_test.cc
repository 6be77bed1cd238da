#include "tools/sim/router.h"

#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(RouterTest, RoundRobinTakesTurns) {
  Router router(Routing::kRoundRobin);
  const std::vector<int> loads = {9, 0, 0};
  std::vector<int> chosen;
  for (int i = 0; i < 4; ++i) chosen.push_back(router.Choose(loads, 1));
  EXPECT_EQ(chosen, (std::vector<int>{0, 1, 2, 0}));
}

TEST(RouterTest, LeastLoadedTakesTheFirstOfTheLeast) {
  Router router(Routing::kLeastLoaded);
  EXPECT_EQ(router.Choose(std::vector{3, 1, 2, 1}, std::nullopt), 1);
  EXPECT_EQ(router.Choose(std::vector{3, 1, 2, 0}, 5), 3);
}

TEST(RouterTest, AffineKeepsAPrefixOnItsReplica) {
  Router router(Routing::kPrefixAffine);
  std::set<int> homes;
  for (uint64_t prefix = 0; prefix < 64; ++prefix) {
    const int home = router.Choose(std::vector{5, 5, 5, 5}, prefix);
    homes.insert(home);
    std::vector<int> loads = {8, 8, 8, 8};
    loads[home] = 9;  // more than the others; with this one 10, below 1.25 * 34 / 4
    ASSERT_EQ(router.Choose(loads, prefix), home);
  }
  EXPECT_EQ(homes.size(), 4u);  // prefixes spread over all replicas
}

TEST(RouterTest, AffineLeavesAFullReplica) {
  Router router(Routing::kPrefixAffine);
  const int home = router.Choose(std::vector{5, 5, 5, 5}, 7);
  std::vector<int> loads = {5, 5, 5, 5};
  loads[home] = 12;
  const int second = router.Choose(loads, 7);
  EXPECT_NE(second, home);
  EXPECT_EQ(router.Choose(loads, 7), second);
}

TEST(RouterTest, AffineAlwaysFindsRoom) {
  Router router(Routing::kPrefixAffine);
  for (int load = 0; load < 50; ++load) {
    for (uint64_t prefix = 0; prefix < 10; ++prefix) {
      EXPECT_GE(router.Choose(std::vector{load, load, load, load}, prefix), 0);
      EXPECT_EQ(router.Choose(std::vector{load}, prefix), 0);
    }
  }
}

TEST(RouterTest, AffineSendsOthersToTheLeastLoaded) {
  Router router(Routing::kPrefixAffine);
  EXPECT_EQ(router.Choose(std::vector{3, 1, 2}, std::nullopt), 1);
}

TEST(RouterTest, ErrorsListTheNames) {
  EXPECT_EQ(*ParseRouting("round-robin"), Routing::kRoundRobin);
  EXPECT_EQ(*ParseRouting("least-loaded"), Routing::kLeastLoaded);
  EXPECT_EQ(*ParseRouting("prefix-affine"), Routing::kPrefixAffine);
  EXPECT_THAT(std::string(ParseRouting("random").status().message()),
              ::testing::HasSubstr("\"random\" is not round-robin"));
}

}  // namespace
}  // namespace skipstone
