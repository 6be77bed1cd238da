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
    sequence.cursor =
        index_.Adopt(tokens_, blocks, sequence.skip, sequence.spec.cache_salt, sequence.pages);
  }
  sequence.planned = sequence.pages.num_blocks() * page_tokens_;
}

int KvManager::RowsThatFit(const Sequence& sequence, int rows) const {
  if (sequence.pages.MissingPages(sequence.planned + rows) <= unowned_pages()) return rows;
  const int layers = static_cast<int>(sequence.pages.layers().size());
  const int64_t blocks = sequence.pages.num_blocks() + unowned_pages() / layers;
  const int64_t fit = blocks * page_tokens_ - sequence.planned;
  return static_cast<int>(std::min<int64_t>(rows, fit > 0 ? fit : page_tokens_));
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
      updates->push_back({.slot = sequence.slot,
                          .layer = layers[i],
                          .block = block,
                          .page = sequence.pages.page(block, i)});
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
  return sequence.pages.MissingPages(tokens);
}

}  // namespace skipstone
