#include "engine/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/cpu/attend_values.h"
#include "engine/cpu/dot_block.h"

namespace skipstone {
namespace {

constexpr int kBlockTokens = kDotOutputs;
// More rows of one sequence share a block of keys, fewer give more tasks.
constexpr int kMaxSegmentRows = 24;

}  // namespace

// One thread's memory. A query is one head of one row; a segment's queries share a K/V head.
struct Attention::Scratch {
  float* dot;      // kDotScratchFloats
  float* scores;   // [query][kBlockTokens]
  float* outputs;  // [query][head_dim]

  Scratch(const Buffer& buffer)
      : dot(buffer.as<float>()),
        scores(dot + kDotScratchFloats),
        outputs(scores + kDotRows * kBlockTokens) {}
  static int64_t Floats(int head_dim) {
    return kDotScratchFloats + kDotRows * (kBlockTokens + int64_t{head_dim});
  }
};

Attention::Attention(const ModelShape& shape, ThreadPool& pool) : shape_(shape), pool_(pool) {
  static_assert(kMaxGroup <= kDotRows);
  const int group = shape.heads / shape.kv_heads;
  SKIPSTONE_CHECK(group <= kMaxGroup);
  rows_per_segment_ = std::clamp(kDotRows / group, 1, kMaxSegmentRows);
  for (int i = 0; i < pool.num_threads(); ++i) {
    scratch_.push_back(Buffer::Map(Scratch::Floats(shape.head_dim) * sizeof(float)));
    SKIPSTONE_CHECK(scratch_.back().as<float>() != nullptr);
  }
}

void Attention::Split(const StepInput& step, const RowList& rows) {
  segments_.clear();
  for (int i = 0; i < rows.count; ++i) {
    const bool same = i > 0 && step.slots[rows[i]] == step.slots[rows[i - 1]];
    if (same && segments_.back().count < rows_per_segment_) {
      ++segments_.back().count;
    } else {
      segments_.push_back({i, 1});
    }
  }
}

void Attention::Run(const StepInput& step, const RowList& rows, int layer, const PageStore& pages,
                    Matrix& q) {
  Split(step, rows);
  const int64_t tasks = static_cast<int64_t>(segments_.size()) * shape_.kv_heads;
  pool_.ParallelFor(tasks, [&](int64_t task, int thread) {
    const Segment& segment = segments_[task / shape_.kv_heads];
    RunSegment(step, rows, segment, task % shape_.kv_heads, layer, pages, q, thread);
  });
}

void Attention::RunSegment(const StepInput& step, const RowList& rows, const Segment& segment,
                           int kv_head, int layer, const PageStore& pages, Matrix& q, int thread) {
  const int dim = shape_.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const Scratch scratch(scratch_[thread]);
  const int group = shape_.heads / shape_.kv_heads;

  float* queries[kDotRows];
  int positions[kDotRows];
  SoftmaxState states[kDotRows];
  int n = 0;
  int last = 0;
  const int slot = step.slots[rows[segment.begin]];
  for (int i = 0; i < segment.count; ++i) {
    const int row = rows[segment.begin + i];
    last = std::max(last, step.positions[row]);
    for (int g = 0; g < group; ++g, ++n) {
      queries[n] = q.row(row) + (kv_head * group + g) * dim;
      positions[n] = step.positions[row];
      states[n] = {-std::numeric_limits<float>::infinity(), 0.0f, scratch.outputs + n * dim};
      std::fill_n(states[n].output, dim, 0.0f);
    }
  }

  const float* keys[kBlockTokens];
  const float* values[kBlockTokens];
  for (int first = 0; first <= last; first += kBlockTokens) {
    const int tokens = std::min(kBlockTokens, last + 1 - first);
    for (int t = 0; t < tokens; ++t) {
      keys[t] = pages.Token(slot, layer, first + t, PageStore::Part::kKey, kv_head);
      values[t] = pages.Token(slot, layer, first + t, PageStore::Part::kValue, kv_head);
    }
    DotBlock({.inputs = queries,
              .rows = n,
              .outputs = reinterpret_cast<const void* const*>(keys),
              .num_outputs = tokens,
              .type = DType::kF32,
              .k = dim,
              .sums = scratch.scores,
              .sums_stride = kBlockTokens,
              .scratch = scratch.dot});
    for (int i = 0; i < n; ++i) {
      const int visible = std::min(tokens, positions[i] + 1 - first);
      if (visible <= 0) continue;
      MergeBlock(scale, visible, scratch.scores + i * kBlockTokens, values, dim, states[i]);
    }
  }
  for (int i = 0; i < n; ++i) {
    const float inverse = 1.0f / states[i].sum;
    for (int d = 0; d < dim; ++d) queries[i][d] = states[i].output[d] * inverse;
  }
}

}  // namespace skipstone
