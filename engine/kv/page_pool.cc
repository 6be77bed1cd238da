#include "engine/kv/page_pool.h"

#include <limits>

#include "engine/base/check.h"

namespace skipstone {

PagePool::PagePool(int64_t num_pages) : references_(num_pages, 0), retained_(num_pages, false) {
  SKIPSTONE_CHECK(num_pages >= 0 && num_pages <= std::numeric_limits<PageId>::max());
  free_.reserve(num_pages);
  for (int64_t page = num_pages - 1; page >= 0; --page) free_.push_back(static_cast<PageId>(page));
}

bool PagePool::Allocate(std::span<PageId> pages) {
  if (pages.size() > free_.size()) return false;
  for (PageId& page : pages) {
    page = free_.back();
    free_.pop_back();
    references_[page] = 1;
  }
  return true;
}

void PagePool::AddReference(PageId page) {
  SKIPSTONE_CHECK(references_[page] > 0);
  if (retained_[page] && references_[page] == 1) --cached_;
  ++references_[page];
}

void PagePool::Release(std::span<const PageId> pages) {
  for (const PageId page : pages) {
    SKIPSTONE_CHECK(references_[page] > (retained_[page] ? 1 : 0));
    --references_[page];
    if (references_[page] == 0) free_.push_back(page);
    if (retained_[page] && references_[page] == 1) ++cached_;
  }
}

void PagePool::Retain(PageId page) {
  SKIPSTONE_CHECK(references_[page] > 0 && !retained_[page]);
  retained_[page] = true;
  ++references_[page];
}

void PagePool::Forget(PageId page) {
  SKIPSTONE_CHECK(retained_[page]);
  retained_[page] = false;
  if (--references_[page] > 0) return;
  --cached_;
  free_.push_back(page);
}

}  // namespace skipstone
