#include "engine/cpu/page_store.h"

#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using Part = PageStore::Part;

constexpr ModelShape kShape{
    .num_layers = 3, .heads = 4, .kv_heads = 2, .head_dim = 8, .max_context = 20};

StepLimits Limits(int page_tokens) {
  return {.max_slots = 2, .page_tokens = page_tokens, .num_pages = 200};
}

// Every block of every slot and layer in a page of its own, in an order that is no order.
std::vector<PageUpdate> AllPages(int page_tokens) {
  std::vector<PageUpdate> updates;
  const int blocks = (kShape.max_context + page_tokens - 1) / page_tokens;
  for (int slot = 0; slot < 2; ++slot) {
    for (int layer = 0; layer < kShape.num_layers; ++layer) {
      for (int block = 0; block < blocks; ++block) {
        const int n = static_cast<int>(updates.size());
        updates.push_back({slot, layer, block, (n * 37 + 11) % 200});
      }
    }
  }
  return updates;
}

template <class Visit>
void ForEachToken(Visit visit) {
  for (int slot = 0; slot < 2; ++slot) {
    for (int layer = 0; layer < kShape.num_layers; ++layer) {
      for (int position = 0; position < kShape.max_context; ++position) {
        for (const Part part : {Part::kKey, Part::kValue}) {
          for (int head = 0; head < kShape.kv_heads; ++head) {
            visit(slot, layer, position, part, head);
          }
        }
      }
    }
  }
}

// Page sizes that divide the context, and that do not; one token, and all of it.
TEST(PageStoreTest, EveryTokenHasPlacesOfItsOwn) {
  for (const int page_tokens : {1, 3, 4, 7, 16, 20, 32}) {
    SCOPED_TRACE(testing::Message() << "page_tokens " << page_tokens);
    PageStore store;
    ASSERT_TRUE(store.Allocate(kShape, Limits(page_tokens)).ok());
    store.Update(AllPages(page_tokens));
    float next = 1;
    ForEachToken([&](auto... token) {
      for (int d = 0; d < kShape.head_dim; ++d) store.Token(token...)[d] = next++;
    });
    float expected = 1;
    ForEachToken([&](auto... token) {
      for (int d = 0; d < kShape.head_dim; ++d) ASSERT_EQ(store.Token(token...)[d], expected++);
    });
  }
}

// The layout that the header promises: a head's tokens follow each other, its page's end is the
// end.
TEST(PageStoreTest, APageIsPartByHeadByToken) {
  constexpr int kTokens = 4;
  PageStore store;
  ASSERT_TRUE(store.Allocate(kShape, Limits(kTokens)).ok());
  store.Update(AllPages(kTokens));
  const float* page = store.Token(1, 2, 8, Part::kKey, 0);
  EXPECT_EQ(store.Token(1, 2, 11, Part::kKey, 0), page + 3 * 8);
  EXPECT_EQ(store.Token(1, 2, 8, Part::kKey, 1), page + kTokens * 8);
  EXPECT_EQ(store.Token(1, 2, 8, Part::kValue, 0), page + 2 * kTokens * 8);
  EXPECT_EQ(store.Token(1, 2, 11, Part::kValue, 1), page + 4 * kTokens * 8 - 8);
  EXPECT_EQ(PageStore::PageBytes(kShape, kTokens), 4 * kTokens * 8 * 4);
}

TEST(PageStoreTest, BlocksMayShareAPageAndMove) {
  PageStore store;
  ASSERT_TRUE(store.Allocate(kShape, Limits(16)).ok());
  store.Update(std::vector<PageUpdate>{{0, 1, 0, 7}, {1, 1, 0, 7}, {1, 1, 1, 199}, {0, 0, 0, 8}});
  store.Token(0, 1, 15, Part::kValue, 1)[7] = 5;
  EXPECT_EQ(store.Token(1, 1, 15, Part::kValue, 1)[7], 5);
  EXPECT_EQ(store.Token(1, 1, 0, Part::kKey, 0), store.Token(0, 1, 0, Part::kKey, 0));
  EXPECT_NE(store.Token(1, 1, 16, Part::kKey, 0), store.Token(0, 1, 0, Part::kKey, 0));
  store.Update(std::vector<PageUpdate>{{1, 1, 0, 8}});
  EXPECT_EQ(store.Token(1, 1, 0, Part::kKey, 0), store.Token(0, 0, 0, Part::kKey, 0));
  EXPECT_EQ(store.Token(0, 1, 15, Part::kValue, 1)[7], 5);
}

TEST(PageStoreTest, SaysThatThereIsNoMemory) {
  PageStore store;
  StepLimits limits = Limits(16);
  limits.num_pages = int64_t{1} << 45;
  const absl::Status status = store.Allocate(kShape, limits);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message()).find("35184372088832 K/V pages of 2048 bytes"),
            std::string::npos)
      << status;
}

TEST(PageStoreDeathTest, APageOutsideTheStoreIsABug) {
  PageStore store;
  ASSERT_TRUE(store.Allocate(kShape, Limits(16)).ok());
  for (const PageUpdate& bad : {PageUpdate{2, 0, 0, 0},
                                {0, 3, 0, 0},
                                {0, 0, 2, 0},
                                {0, 0, 0, 200},
                                {-1, 0, 0, 0},
                                {0, -1, 0, 0},
                                {0, 0, -1, 0},
                                {0, 0, 0, -1}}) {
    EXPECT_DEATH(store.Update({&bad, 1}), "");
  }
}

}  // namespace
}  // namespace skipstone
