// Page ids and their reference counts; integers only, no memory. A page holds K and V of
// page_tokens consecutive tokens of one layer; any page serves any layer.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/check.h"

namespace skipstone {

using PageId = int32_t;

// Invariant: free() + used() + cached() == size(). Not thread-safe: the step thread owns it.
class PagePool {
 public:
  static constexpr int64_t kMaxPages = std::numeric_limits<PageId>::max();
  // 0 <= num_pages <= kMaxPages.
  explicit PagePool(int64_t num_pages);

  // Fills `pages` with pages of reference count 1, or changes nothing and returns false.
  bool Allocate(std::span<PageId> pages);
  // One more owner of a page that has one.
  void AddReference(PageId id) {
    Page& page = pages_[id];
    SKIPSTONE_CHECK(page.references > 0);
    if (page.retained && page.references == 1) --cached_;
    ++page.references;
  }
  // One owner less; the last one frees the page.
  void Release(std::span<const PageId> pages);

  // The prefix cache becomes one more owner of the page, or ceases to be one. A page that only the
  // cache owns is cached, not used.
  void Retain(PageId id) {
    Page& page = pages_[id];
    SKIPSTONE_CHECK(page.references > 0 && !page.retained);
    page.retained = 1;
    ++page.references;
  }
  void Forget(PageId id) {
    Page& page = pages_[id];
    SKIPSTONE_CHECK(page.retained);
    page.retained = 0;
    if (--page.references > 0) return;
    --cached_;
    free_.push_back(id);
  }
  // A hint that the page is about to be retained or forgotten.
  void Prefetch(PageId id) const { __builtin_prefetch(&pages_[id], 1); }

  int64_t size() const { return static_cast<int64_t>(pages_.size()); }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }
  int64_t cached() const { return cached_; }
  int64_t used() const { return size() - free() - cached(); }
  // One owner besides the cache: without it the page is free or cached.
  bool HasOneOwner(PageId id) const {
    return pages_[id].references == (pages_[id].retained ? 2u : 1u);
  }
  int references(PageId page) const { return static_cast<int>(pages_[page].references); }

 private:
  struct Page {
    uint32_t references : 31 = 0;  // the cache's included
    uint32_t retained : 1 = 0;     // by the cache
  };
  std::vector<PageId> free_;  // a stack: the page freed last is the warmest
  std::vector<Page> pages_;
  int64_t cached_ = 0;
};

}  // namespace skipstone
