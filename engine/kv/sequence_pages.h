// The pages of one sequence: one list per kept attention layer, none for a skipped one. All kept
// layers hold the same number of token blocks, so growth by a block is all of its pages or none.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

constexpr int BlocksFor(int64_t tokens, int page_tokens) {
  return static_cast<int>((tokens + page_tokens - 1) / page_tokens);
}

// Pages of `tokens` stored tokens under `skip`.
inline int64_t PagesFor(int64_t tokens, const SkipSet& skip, int page_tokens) {
  return static_cast<int64_t>(skip.KeptAttention()) * BlocksFor(tokens, page_tokens);
}

// Move-only; gives its pages back when it dies. Not thread-safe.
class SequencePages {
 public:
  SequencePages(PagePool& pool, const SkipSet& skip, int page_tokens);
  ~SequencePages();
  SequencePages(SequencePages&& other) noexcept;
  SequencePages& operator=(SequencePages&&) = delete;

  // Makes room for positions [0, tokens): true, with all pages of the missing blocks, or false,
  // with nothing changed.
  bool Grow(int64_t tokens);
  // Appends a block of pages that have other owners: one per kept layer.
  void Share(std::span<const PageId> block);
  // Takes `page`, which has other owners, in place of the i-th kept layer's page of the block.
  void Exchange(int block, int kept_layer, PageId page);
  // Pages that Grow(tokens) would take.
  int64_t MissingPages(int64_t tokens) const;
  // Gives all pages back.
  void Release();
  // Gives back the pages of the `layers` deepest kept layers, which are then kept no more. Shared
  // pages stay with their other owners; blocks stay, even without a layer. O(pages held).
  void ShedTop(int layers);
  // Memory for the page ids of so many tokens, so that growth up to them allocates nothing.
  void Reserve(int64_t tokens);

  // Of the deepest kept layer: pages that no other sequence shares, which shedding it would free.
  int UnsharedPagesOnTop() const;

  int num_blocks() const { return num_blocks_; }
  int64_t num_pages() const { return static_cast<int64_t>(pages_.size()); }
  // The layers that have pages, ascending.
  const std::vector<int16_t>& layers() const { return layers_; }
  // All of them: [block][kept layer].
  std::span<const PageId> pages() const { return pages_; }
  // Page of the i-th kept layer.
  PageId page(int block, int kept_layer) const {
    return pages_[static_cast<size_t>(block) * layers_.size() + kept_layer];
  }

 private:
  PagePool* pool_;
  int page_tokens_;
  int num_blocks_ = 0;
  std::vector<int16_t> layers_;
  std::vector<PageId> pages_;  // in this order growth appends
};

}  // namespace skipstone
