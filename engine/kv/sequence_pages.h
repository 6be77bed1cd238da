// The pages of one sequence: one list per kept attention layer, none for a skipped one. All lists
// have the same number of token blocks. A full layer has a page for each block; a windowed one for
// those of the sink and of what rows still to run will read, and holes elsewhere.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/skip/liveness.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// Stands in a list where the sequence holds no page.
inline constexpr PageId kNoPage = -1;

constexpr int BlocksFor(int64_t tokens, int page_tokens) {
  return static_cast<int>((tokens + page_tokens - 1) / page_tokens);
}

// Pages of `tokens` stored tokens under `skip`, before the next row is given room.
int64_t PagesFor(int64_t tokens, const SkipSet& skip, int page_tokens);

// Pages that suffice to run so many tokens under `skip`, a block of rows at a time.
int64_t MostPagesFor(int64_t tokens, const SkipSet& skip, int page_tokens);

// The most tokens, up to `limit`, for which so many pages suffice.
int64_t MostTokensFor(int64_t pages, const SkipSet& skip, int page_tokens, int64_t limit);

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
  // Appends a block of pages that have other owners: one per kept layer, or kNoPage.
  void Share(std::span<const PageId> block);
  // Takes `page`, which has other owners, in place of the i-th kept layer's page of the block.
  void Exchange(int block, int kept_layer, PageId page);
  // Pages that Grow(tokens) would take.
  int64_t MissingPages(int64_t tokens) const;
  // Pages that have to be had to run so many tokens from here, a block of rows at a time.
  int64_t MissingAtMost(int64_t tokens) const;
  // From now on rows from `row` on run, of which those from `first_logits` on need logits: gives
  // back the pages that none of them reads, of the first `blocks` blocks. Neither number may
  // decrease. Returns whether it gave any back.
  bool Slide(int row, int first_logits, int blocks);
  // Gives all pages back.
  void Release();
  // `skip` is in force from now on, which differs from the set before in the deepest kept layers
  // only: gives the pages of those it skips back. Shared pages stay with their other owners; blocks
  // stay, even without a layer. Windows are heeded by the next Slide. O(pages held).
  void ShedTo(const SkipSet& skip);
  // Memory for the page ids of so many tokens, so that growth up to them allocates nothing.
  void Reserve(int64_t tokens);

  // Pages of the deepest kept layer's blocks [begin, end) that no other sequence shares.
  int UnsharedPagesOnTop(int begin, int end) const;

  // The first block, the sink's aside, of which rows from `row` on read K and V of a kept layer.
  int FirstBlock(int kept_layer, int row, int first_logits) const {
    return BlockOf(live_.FirstRead(layers_[kept_layer], row, first_logits));
  }
  int BlockOf(int position) const { return std::max(0, position) / page_tokens_; }
  int SinkBlocks() const { return BlocksFor(kSinkTokens, page_tokens_); }

  const Liveness& liveness() const { return live_; }
  int num_blocks() const { return num_blocks_; }
  int64_t num_pages() const { return num_pages_; }
  // The layers that have pages, ascending.
  const std::vector<int16_t>& layers() const { return layers_; }
  // All of them and the holes: [block][kept layer].
  std::span<const PageId> pages() const { return pages_; }
  // Page of the i-th kept layer; kNoPage if it is a hole.
  PageId page(int block, int kept_layer) const {
    return pages_[static_cast<size_t>(block) * layers_.size() + kept_layer];
  }

 private:
  // The list of a windowed layer.
  struct Tail {
    int kept_layer;
    int most;          // pages that it needs at once, where a block of rows runs at a time
    int first = 0;     // block from which on rows still to run read
    int released = 0;  // below it, the sink's aside, there are holes only
  };

  void FindTails(const SkipSet& skip);
  PageId& At(int block, int kept_layer) {
    return pages_[static_cast<size_t>(block) * layers_.size() + kept_layer];
  }
  int Held(const Tail& tail, int begin, int end) const;

  PagePool* pool_;
  int page_tokens_;
  int num_blocks_ = 0;
  int64_t num_pages_ = 0;
  Liveness live_;
  std::vector<int16_t> layers_;
  std::vector<Tail> tails_;    // of the windowed layers
  std::vector<PageId> pages_;  // in this order growth appends
};

}  // namespace skipstone
