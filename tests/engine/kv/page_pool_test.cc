#include "engine/kv/page_pool.h"

#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(PagePoolTest, HandsOutEveryPageOnce) {
  PagePool pool(5);
  std::vector<PageId> pages(5);
  ASSERT_TRUE(pool.Allocate(pages));
  EXPECT_EQ(std::set<PageId>(pages.begin(), pages.end()), (std::set<PageId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.free(), 0);
  EXPECT_EQ(pool.used(), 5);
}

TEST(PagePoolTest, AllocatesAllOrNothing) {
  PagePool pool(3);
  std::vector<PageId> two(2);
  ASSERT_TRUE(pool.Allocate(two));
  std::vector<PageId> more(2, -7);
  EXPECT_FALSE(pool.Allocate(more));
  EXPECT_EQ(more, (std::vector<PageId>{-7, -7}));
  EXPECT_EQ(pool.free(), 1);
}

TEST(PagePoolTest, FreesAPageWithItsLastReference) {
  PagePool pool(1);
  std::vector<PageId> page(1);
  ASSERT_TRUE(pool.Allocate(page));
  pool.AddReference(page[0]);
  pool.Release(page);
  EXPECT_EQ(pool.free(), 0);
  pool.Release(page);
  EXPECT_EQ(pool.free(), 1);
}

TEST(PagePoolDeathTest, DiesOnReleaseOfAFreePage) {
  PagePool pool(1);
  const std::vector<PageId> page{0};
  EXPECT_DEATH(pool.Release(page), "check failed");
}

TEST(PagePoolTest, NeverOwnsAPageTwiceUnderRandomTraffic) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  PagePool pool(64);
  std::vector<std::vector<PageId>> owned;
  std::set<PageId> held;
  for (int i = 0; i < 100000; ++i) {
    if (random() % 2 == 0) {
      std::vector<PageId> pages(random() % 9);
      const bool fits = static_cast<int64_t>(pages.size()) <= pool.free();
      ASSERT_EQ(pool.Allocate(pages), fits);
      if (!fits) continue;
      for (const PageId page : pages) ASSERT_TRUE(held.insert(page).second);
      owned.push_back(std::move(pages));
    } else if (!owned.empty()) {
      std::swap(owned[random() % owned.size()], owned.back());
      for (const PageId page : owned.back()) held.erase(page);
      pool.Release(owned.back());
      owned.pop_back();
    }
    ASSERT_EQ(pool.used(), static_cast<int64_t>(held.size()));
    ASSERT_EQ(pool.used() + pool.free(), pool.size());
  }
}

}  // namespace
}  // namespace skipstone
