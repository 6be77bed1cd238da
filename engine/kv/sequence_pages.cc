#include "engine/kv/sequence_pages.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace skipstone {

SequencePages::SequencePages(PagePool& pool, const SkipSet& skip, int page_tokens)
    : pool_(&pool), page_tokens_(page_tokens) {
  layers_.reserve(skip.KeptAttention());
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    if (skip.KeepsAttention(layer)) layers_.push_back(static_cast<int16_t>(layer));
  }
}

SequencePages::~SequencePages() { Release(); }

SequencePages::SequencePages(SequencePages&& other) noexcept
    : pool_(other.pool_),
      page_tokens_(other.page_tokens_),
      num_blocks_(std::exchange(other.num_blocks_, 0)),
      layers_(std::move(other.layers_)),
      pages_(std::exchange(other.pages_, {})) {}

int64_t SequencePages::MissingPages(int64_t tokens) const {
  const int64_t blocks = std::max(0, BlocksFor(tokens, page_tokens_) - num_blocks_);
  return blocks * static_cast<int64_t>(layers_.size());
}

bool SequencePages::Grow(int64_t tokens) {
  const int blocks = BlocksFor(tokens, page_tokens_);
  if (blocks <= num_blocks_) return true;
  const size_t before = pages_.size();
  pages_.resize(static_cast<size_t>(blocks) * layers_.size());
  if (!pool_->Allocate(std::span(pages_).subspan(before))) {
    pages_.resize(before);
    return false;
  }
  num_blocks_ = blocks;
  return true;
}

void SequencePages::Share(std::span<const PageId> block) {
  SKIPSTONE_CHECK(block.size() == layers_.size());
  for (const PageId page : block) pool_->AddReference(page);
  pages_.insert(pages_.end(), block.begin(), block.end());
  ++num_blocks_;
}

void SequencePages::Exchange(int block, int kept_layer, PageId page) {
  PageId& own = pages_[static_cast<size_t>(block) * layers_.size() + kept_layer];
  pool_->AddReference(page);
  pool_->Release({&own, 1});
  own = page;
}

int SequencePages::UnsharedPagesOnTop() const {
  const int top = static_cast<int>(layers_.size()) - 1;
  int pages = 0;
  for (int block = 0; top >= 0 && block < num_blocks_; ++block) {
    pages += pool_->HasOneOwner(page(block, top)) ? 1 : 0;
  }
  return pages;
}

void SequencePages::Release() {
  pool_->Release(pages_);
  pages_.clear();
  num_blocks_ = 0;
}

void SequencePages::ShedTop(int layers) {
  const int before = static_cast<int>(layers_.size());
  SKIPSTONE_CHECK(layers >= 0 && layers <= before);
  if (layers == 0) return;
  const int left = before - layers;
  for (int64_t block = 0; block < num_blocks_; ++block) {
    const auto held = pages_.begin() + block * before;
    pool_->Release(std::span(held + left, layers));
    std::copy(held, held + left, pages_.begin() + block * left);
  }
  pages_.resize(static_cast<size_t>(num_blocks_) * left);
  layers_.resize(left);
}

void SequencePages::Reserve(int64_t tokens) {
  pages_.reserve(static_cast<size_t>(BlocksFor(tokens, page_tokens_)) * layers_.size());
}

}  // namespace skipstone
