#include "engine/kv/page_pool.h"

#include "base/check.h"

namespace skipstone {

PagePool::PagePool(int64_t num_pages) : pages_(num_pages) {
  SKIPSTONE_CHECK(num_pages >= 0 && num_pages <= kMaxPages);
  free_.reserve(num_pages);
  for (int64_t page = num_pages - 1; page >= 0; --page) free_.push_back(static_cast<PageId>(page));
}

bool PagePool::Allocate(std::span<PageId> pages) {
  if (pages.size() > free_.size()) return false;
  for (PageId& page : pages) {
    page = free_.back();
    free_.pop_back();
    pages_[page].references = 1;
  }
  return true;
}

void PagePool::Release(std::span<const PageId> pages) {
  for (const PageId id : pages) {
    Page& page = pages_[id];
    SKIPSTONE_CHECK(page.references > page.retained);
    --page.references;
    if (page.references == 0) free_.push_back(id);
    if (page.retained && page.references == 1) ++cached_;
  }
}

}  // namespace skipstone
