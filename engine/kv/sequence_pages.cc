#include "engine/kv/sequence_pages.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/check.h"

namespace skipstone {
namespace {

// Blocks that a window reaches, wherever the rows of one block, or a single row, stand.
int64_t MostWindowBlocks(int window, int page_tokens) {
  return BlocksFor(kSinkTokens, page_tokens) + BlocksFor(window - 1, page_tokens) + 1;
}

}  // namespace

int64_t PagesFor(int64_t tokens, const SkipSet& skip, int page_tokens) {
  const int64_t blocks = BlocksFor(tokens, page_tokens);
  int64_t pages = blocks * skip.KeptAttention();
  for (int layer = 0; layer < skip.num_layers() && skip.WindowedAttention() > 0; ++layer) {
    if (skip.Window(layer) == 0) continue;
    const int64_t first = std::max<int64_t>(0, tokens - skip.Window(layer) + 1) / page_tokens;
    pages -= std::max<int64_t>(0, std::min(first, blocks) - BlocksFor(kSinkTokens, page_tokens));
  }
  return pages;
}

int64_t MostPagesFor(int64_t tokens, const SkipSet& skip, int page_tokens) {
  const int64_t blocks = BlocksFor(tokens, page_tokens);
  int64_t pages = blocks * skip.KeptAttention();
  for (int layer = 0; layer < skip.num_layers() && skip.WindowedAttention() > 0; ++layer) {
    if (skip.Window(layer) == 0) continue;
    pages -= blocks - std::min(blocks, MostWindowBlocks(skip.Window(layer), page_tokens));
  }
  return pages;
}

int64_t MostTokensFor(int64_t pages, const SkipSet& skip, int page_tokens, int64_t limit) {
  const auto tokens = std::views::iota(int64_t{0}, limit + 1);
  const auto fit = [&](int64_t count) { return MostPagesFor(count, skip, page_tokens) <= pages; };
  return std::ranges::partition_point(tokens, fit) - tokens.begin() - 1;
}

SequencePages::SequencePages(PagePool& pool, const SkipSet& skip, int page_tokens)
    : pool_(&pool), page_tokens_(page_tokens), live_(skip, page_tokens) {
  layers_.reserve(skip.KeptAttention());
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    if (skip.KeepsAttention(layer)) layers_.push_back(static_cast<int16_t>(layer));
  }
  FindTails(skip);
}

SequencePages::~SequencePages() { Release(); }

SequencePages::SequencePages(SequencePages&& other) noexcept
    : pool_(other.pool_),
      page_tokens_(other.page_tokens_),
      num_blocks_(std::exchange(other.num_blocks_, 0)),
      num_pages_(std::exchange(other.num_pages_, 0)),
      live_(std::move(other.live_)),
      layers_(std::move(other.layers_)),
      tails_(std::move(other.tails_)),
      pages_(std::exchange(other.pages_, {})) {}

// Those of layers that were windowed before stay as they are.
void SequencePages::FindTails(const SkipSet& skip) {
  std::erase_if(tails_, [&](const Tail& tail) { return tail.kept_layer >= std::ssize(layers_); });
  for (int i = 0; i < std::ssize(layers_); ++i) {
    if (skip.Window(layers_[i]) == 0) continue;
    const bool known = std::ranges::find(tails_, i, &Tail::kept_layer) != tails_.end();
    if (known) continue;
    const int64_t most = MostWindowBlocks(skip.Window(layers_[i]), page_tokens_);
    tails_.push_back({.kept_layer = i, .most = static_cast<int>(most)});
  }
}

// How many of the blocks [begin, end) rows still to run read.
int SequencePages::Held(const Tail& tail, int begin, int end) const {
  const int sink = std::min({SinkBlocks(), tail.first, end});
  return end - std::clamp(tail.first, begin, end) + std::max(0, sink - begin);
}

int64_t SequencePages::MissingPages(int64_t tokens) const {
  const int blocks = BlocksFor(tokens, page_tokens_);
  if (blocks <= num_blocks_) return 0;
  const auto full = static_cast<int64_t>(layers_.size() - tails_.size());
  int64_t pages = full * (blocks - num_blocks_);
  for (const Tail& tail : tails_) pages += Held(tail, num_blocks_, blocks);
  return pages;
}

int64_t SequencePages::MissingAtMost(int64_t tokens) const {
  const int blocks = BlocksFor(tokens, page_tokens_);
  const auto full = static_cast<int64_t>(layers_.size() - tails_.size());
  int64_t pages = full * std::max(0, blocks - num_blocks_);
  for (const Tail& tail : tails_) {
    pages += std::max(0, std::min(blocks, tail.most) - Held(tail, 0, num_blocks_));
  }
  return pages;
}

bool SequencePages::Grow(int64_t tokens) {
  const int blocks = BlocksFor(tokens, page_tokens_);
  if (blocks <= num_blocks_) return true;
  const int64_t missing = MissingPages(tokens);
  const size_t before = pages_.size();
  pages_.resize(static_cast<size_t>(blocks) * layers_.size());
  if (!pool_->Allocate(std::span(pages_).subspan(before, missing))) {
    pages_.resize(before);
    return false;
  }
  num_pages_ += missing;
  const int first = std::exchange(num_blocks_, blocks);
  if (before + missing == pages_.size()) return true;
  // From the end, so that no page is overwritten before it has moved to its place.
  size_t next = before + missing;
  for (int block = blocks - 1; block >= first; --block) {
    auto tail = tails_.rbegin();
    for (int i = static_cast<int>(layers_.size()) - 1; i >= 0; --i) {
      const bool windowed = tail != tails_.rend() && tail->kept_layer == i;
      const bool held = !windowed || Held(*tail, block, block + 1) > 0;
      At(block, i) = held ? pages_[--next] : kNoPage;
      if (windowed) ++tail;
    }
  }
  return true;
}

void SequencePages::Share(std::span<const PageId> block) {
  SKIPSTONE_CHECK(block.size() == layers_.size());
  for (const PageId page : block) {
    if (page == kNoPage) continue;
    pool_->AddReference(page);
    ++num_pages_;
  }
  pages_.insert(pages_.end(), block.begin(), block.end());
  ++num_blocks_;
}

void SequencePages::Exchange(int block, int kept_layer, PageId page) {
  PageId& own = At(block, kept_layer);
  pool_->AddReference(page);
  pool_->Release({&own, 1});
  own = page;
}

bool SequencePages::Slide(int row, int first_logits, int blocks) {
  const int64_t before = num_pages_;
  for (Tail& tail : tails_) {
    tail.first = FirstBlock(tail.kept_layer, row, first_logits);
    const int end = std::min({tail.first, blocks, num_blocks_});
    for (int block = std::max(tail.released, SinkBlocks()); block < end; ++block) {
      PageId& page = At(block, tail.kept_layer);
      if (page == kNoPage) continue;
      pool_->Release({&page, 1});
      page = kNoPage;
      --num_pages_;
    }
    tail.released = std::max(tail.released, end);
  }
  return num_pages_ != before;
}

int SequencePages::UnsharedPagesOnTop(int begin, int end) const {
  const int top = static_cast<int>(layers_.size()) - 1;
  int pages = 0;
  for (int block = begin; top >= 0 && block < std::min(end, num_blocks_); ++block) {
    const PageId held = page(block, top);
    pages += held != kNoPage && pool_->HasOneOwner(held) ? 1 : 0;
  }
  return pages;
}

void SequencePages::Release() {
  std::erase(pages_, kNoPage);
  pool_->Release(pages_);
  pages_.clear();
  num_blocks_ = 0;
  num_pages_ = 0;
  for (Tail& tail : tails_) tail.first = tail.released = 0;
}

void SequencePages::ShedTo(const SkipSet& skip) {
  const int before = static_cast<int>(layers_.size());
  while (!layers_.empty() && !skip.KeepsAttention(layers_.back())) layers_.pop_back();
  const int left = static_cast<int>(layers_.size());
  SKIPSTONE_CHECK(left == skip.KeptAttention());
  live_ = Liveness(skip, page_tokens_);
  FindTails(skip);
  if (left == before) return;
  size_t next = 0;
  for (size_t i = 0; i < pages_.size(); ++i) {
    const bool stays = static_cast<int>(i % before) < left;
    if (!stays && pages_[i] != kNoPage) {
      pool_->Release({&pages_[i], 1});
      --num_pages_;
    }
    if (stays) pages_[next++] = pages_[i];
  }
  pages_.resize(next);
}

void SequencePages::Reserve(int64_t tokens) {
  pages_.reserve(static_cast<size_t>(BlocksFor(tokens, page_tokens_)) * layers_.size());
}

}  // namespace skipstone
