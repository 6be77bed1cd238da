#include "engine/schedule/kv_manager.h"

#include <algorithm>

#include "base/check.h"

namespace skipstone {

bool KvManager::MakeRoom(int64_t pages) {
  if (unowned_pages() < pages) return false;
  while (pool_.free() < pages) SKIPSTONE_CHECK(index_.Evict());
  return true;
}

void KvManager::Adopt(Sequence& sequence) {
  if (prefix_cache_) {
    tokens_.clear();
    const int blocks = sequence.FirstLogitsRow() / page_tokens_;
    sequence.AppendTokens(0, blocks * page_tokens_, &tokens_);
    sequence.cursor = index_.Adopt({.tokens = tokens_,
                                    .max_blocks = blocks,
                                    .skip = sequence.skip,
                                    .salt = sequence.spec.cache_salt,
                                    .first_logits = FirstLogitsRow(sequence)},
                                   sequence.pages);
  }
  sequence.planned = sequence.pages.num_blocks() * page_tokens_;
  Slide(sequence);
}

void KvManager::Slide(Sequence& sequence) {
  const int blocks = prefix_cache_ ? sequence.cursor.blocks() : sequence.pages.num_blocks();
  if (sequence.pages.Slide(sequence.planned, FirstLogitsRow(sequence), blocks)) {
    sequence.cursor.PagesReleased();
  }
}

int KvManager::RowsThatFit(const Sequence& sequence, int rows, int64_t most_pages) const {
  const SequencePages& pages = sequence.pages;
  if (pages.MissingPages(sequence.planned + rows) <= most_pages) return rows;
  int blocks = pages.num_blocks();
  while (pages.MissingPages((blocks + 1) * page_tokens_) <= most_pages) ++blocks;
  const int fit = blocks * page_tokens_ - sequence.planned;
  return std::min(rows, fit > 0 ? fit : page_tokens_);
}

void KvManager::Grow(Sequence& sequence, int tokens, std::vector<PageUpdate>* updates) {
  const int before = sequence.pages.num_blocks();
  SKIPSTONE_CHECK(sequence.pages.Grow(tokens));
  SendPages(sequence, before, sequence.pages.num_blocks(), updates);
}

void KvManager::SendPages(const Sequence& sequence, int begin, int end,
                          std::vector<PageUpdate>* updates) {
  const std::vector<int16_t>& layers = sequence.pages.layers();
  for (int block = begin; block < end; ++block) {
    for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
      const PageId page = sequence.pages.page(block, i);
      if (page == kNoPage) continue;
      updates->push_back({.slot = sequence.slot, .layer = layers[i], .block = block, .page = page});
    }
  }
}

void KvManager::EnterBlocks(Sequence& sequence, int written) {
  if (!prefix_cache_) return;
  for (int block = sequence.cursor.blocks(); (block + 1) * page_tokens_ <= written; ++block) {
    tokens_.clear();
    sequence.AppendTokens(block * page_tokens_, (block + 1) * page_tokens_, &tokens_);
    if (index_.Insert(sequence.cursor, tokens_, sequence.pages)) {
      SendPages(sequence, block, block + 1, &exchanged_);
    }
  }
}

void KvManager::SendExchanged(std::vector<PageUpdate>* updates) {
  updates->insert(updates->end(), exchanged_.begin(), exchanged_.end());
  exchanged_.clear();
}

bool KvManager::PromptEntered(const Sequence& sequence) const {
  if (!prefix_cache_ || sequence.pages.layers().empty()) return true;
  return sequence.cursor.blocks() >= (sequence.PromptTokens() - 1) / page_tokens_;
}

void KvManager::Release(Sequence& sequence) {
  std::erase_if(exchanged_, [&](const PageUpdate& u) { return u.slot == sequence.slot; });
  sequence.pages.Release();
  sequence.cursor.Reset();
  sequence.planned = 0;
  sequence.decoding = false;
}

int64_t KvManager::AdmissionPages(const Sequence& sequence) const {
  const int tokens = std::min(sequence.RowsWanted() + page_tokens_, sequence.MaxStored());
  return sequence.pages.MissingAtMost(tokens);
}

}  // namespace skipstone
