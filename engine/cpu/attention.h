// Attention of rows over the paged K/V of their sequences.
//
// Keys are reduced in blocks of 64 positions that start at absolute multiples of 64, merged in
// order (online softmax). Of a block that a row sees in part each visible stretch is merged, the
// sink's before the window's; blocks between sink and window are not even looked up. So what a row
// yields depends on its query, its window and its sequence's K/V alone, not on pages, chunks or the
// other rows.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/page_store.h"
#include "engine/cpu/thread_pool.h"

namespace skipstone {

// Owns the scratch memory of each thread. One thread, the pool's caller, may call.
class Attention {
 public:
  // Query heads that may share a K/V head.
  static constexpr int kMaxGroup = 64;

  Attention(const ModelShape& shape, ThreadPool& pool);

  // For each row of `rows` of layer `layer`: q[row] = softmax(q K^T / sqrt(head_dim)) V over the
  // positions of its slot that it sees: of those up to its own the first step.sink_tokens and the
  // last step.Window(row, layer), or all. Only these need a page.
  void Run(const StepInput& step, const RowList& rows, int layer, const PageStore& pages,
           Matrix& q);

 private:
  // Rows [begin, begin + count) of a row list that follow each other in one slot and see either one
  // stretch of positions each, or sink and window.
  struct Segment {
    int begin = 0;
    int count = 0;
  };
  struct Scratch;
  class Queries;

  void Split(const StepInput& step, const RowList& rows, int layer);

  const ModelShape shape_;
  ThreadPool& pool_;
  int rows_per_segment_;
  std::vector<Segment> segments_;
  std::vector<Buffer> scratch_;  // by thread
};

}  // namespace skipstone
