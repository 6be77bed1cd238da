#include "engine/schedule/kv_manager.h"

#include <numeric>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kLayers = 2;

SequenceSpec Spec(int prompt, const char* skip = "none") {
  SequenceSpec spec{.id = 1, .skip = *ParseSkipSet(skip, kLayers), .max_tokens = 8};
  spec.prompt.resize(prompt);
  std::iota(spec.prompt.begin(), spec.prompt.end(), 0);
  return spec;
}

// As if it had started and run its whole prompt.
void Prefill(KvManager* kv, Sequence* sequence) {
  kv->Adopt(*sequence);
  EXPECT_EQ(sequence->planned, 0);
  sequence->slot = 0;
  std::vector<PageUpdate> updates;
  kv->Grow(*sequence, sequence->PromptTokens(), &updates);
  EXPECT_EQ(std::ssize(updates), sequence->pages.num_pages());
  kv->EnterBlocks(*sequence, sequence->PromptTokens());
  sequence->planned = sequence->PromptTokens();
}

TEST(KvManagerTest, EvictsOnlyIfThatSuffices) {
  KvManager kv({.page_tokens = 4, .num_pages = 10});
  {
    Sequence sequence(Spec(8), kv.pool(), 4);
    Prefill(&kv, &sequence);
    kv.Release(sequence);
  }
  EXPECT_EQ(kv.pool().cached(), 4);
  EXPECT_EQ(kv.unowned_pages(), 10);
  EXPECT_FALSE(kv.MakeRoom(11));
  EXPECT_EQ(kv.pool().cached(), 4) << "nothing is thrown away in vain";
  EXPECT_TRUE(kv.MakeRoom(8));
  EXPECT_EQ(kv.pool().cached(), 2);
  EXPECT_TRUE(kv.MakeRoom(10));
  EXPECT_EQ(kv.pool().cached(), 0);
}

TEST(KvManagerTest, AdoptsWhatTheCacheHasAndPlansFromThere) {
  KvManager kv({.page_tokens = 4, .num_pages = 100});
  Sequence first(Spec(10), kv.pool(), 4);
  EXPECT_FALSE(kv.PromptEntered(first));
  Prefill(&kv, &first);
  EXPECT_TRUE(kv.PromptEntered(first));
  Sequence second(Spec(10, "attn:1"), kv.pool(), 4);
  kv.Adopt(second);
  EXPECT_EQ(second.planned, 8);
  EXPECT_EQ(second.pages.page(0, 0), first.pages.page(0, 0));
  EXPECT_EQ(kv.pool().used(), 6);
  // 10 known tokens and one block more: 4 blocks, 2 of them shared.
  EXPECT_EQ(kv.AdmissionPages(second), 2);
  kv.Release(second);
  EXPECT_EQ(second.planned, 0);
  EXPECT_EQ(second.pages.num_pages(), 0);
}

TEST(KvManagerTest, AFullSequenceSharesWhatASkippingOneHasEntered) {
  KvManager kv({.page_tokens = 4, .num_pages = 100});
  Sequence skipping(Spec(10, "attn:1"), kv.pool(), 4);
  Prefill(&kv, &skipping);
  Sequence full(Spec(10), kv.pool(), 4);
  Prefill(&kv, &full);  // computes all its rows: layer 1 has no pages
  EXPECT_EQ(full.pages.page(0, 0), skipping.pages.page(0, 0));
  EXPECT_EQ(full.pages.page(1, 0), skipping.pages.page(1, 0));
  EXPECT_EQ(kv.pool().used(), 3 + 6 - 2) << "two blocks of layer 0 are held once";
  std::vector<PageUpdate> updates;
  kv.SendExchanged(&updates);
  EXPECT_EQ(updates.size(), 4u);
  for (const PageUpdate& update : updates) {
    EXPECT_EQ(update.page, full.pages.page(update.block, update.layer));
  }
}

TEST(KvManagerTest, APromptTakesTheRoomThereIs) {
  KvManager kv({.page_tokens = 4, .num_pages = 10});  // 5 blocks of 2 layers
  Sequence sequence(Spec(30), kv.pool(), 4);
  EXPECT_EQ(kv.RowsThatFit(sequence, 17, kv.unowned_pages()), 17);
  EXPECT_EQ(kv.RowsThatFit(sequence, 30, kv.unowned_pages()), 20) << "what 10 pages hold";
  std::vector<PageUpdate> updates;
  kv.Grow(sequence, 18, &updates);
  sequence.planned = 18;
  EXPECT_EQ(kv.RowsThatFit(sequence, 12, kv.unowned_pages()), 2) << "what its last block has left";
  sequence.planned = 20;
  EXPECT_EQ(kv.RowsThatFit(sequence, 10, kv.unowned_pages()), 4)
      << "no room: a block, at the cost of others";
  Sequence without_pages(Spec(30, "attn:0-1"), kv.pool(), 4);
  EXPECT_EQ(kv.RowsThatFit(without_pages, 30, kv.unowned_pages()), 30);
}

TEST(KvManagerTest, NothingIsSentForASequenceThatStopped) {
  KvManager kv({.page_tokens = 4, .num_pages = 100});
  Sequence skipping(Spec(10, "attn:1"), kv.pool(), 4);
  Prefill(&kv, &skipping);
  Sequence full(Spec(10), kv.pool(), 4);
  Prefill(&kv, &full);
  kv.Release(full);
  std::vector<PageUpdate> updates;
  kv.SendExchanged(&updates);
  EXPECT_TRUE(updates.empty());
}

TEST(KvManagerTest, WithoutACacheNothingIsSharedOrWaitedFor) {
  KvManager kv({.page_tokens = 4, .num_pages = 100, .prefix_cache = false});
  Sequence first(Spec(10), kv.pool(), 4);
  Prefill(&kv, &first);
  EXPECT_TRUE(kv.PromptEntered(first));
  Sequence second(Spec(10), kv.pool(), 4);
  EXPECT_TRUE(kv.PromptEntered(second));
  kv.Adopt(second);
  EXPECT_EQ(second.planned, 0);
}

TEST(KvManagerTest, ASequenceWithoutPagesHasNothingToEnter) {
  KvManager kv({.page_tokens = 4, .num_pages = 100});
  Sequence sequence(Spec(10, "attn:0-1"), kv.pool(), 4);
  EXPECT_TRUE(kv.PromptEntered(sequence));
  EXPECT_EQ(kv.AdmissionPages(sequence), 0);
}

}  // namespace
}  // namespace skipstone
