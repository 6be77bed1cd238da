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

// The first position of a row's window; 0 if it sees all up to its own, as where its window reaches
// the sink.
int WindowBegin(const StepInput& step, int row, int layer) {
  const int window = step.Window(row, layer);
  const int begin = step.positions[row] + 1 - window;
  return window > 0 && begin > step.sink_tokens ? begin : 0;
}

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

// The heads of a segment's rows that read one K/V head.
struct Attention::Queries {
  int slot = 0;
  int kv_head = 0;
  int count = 0;
  float* vectors[kDotRows];
  int begins[kDotRows];  // WindowBegin
  int ends[kDotRows];    // behind the own position
  SoftmaxState states[kDotRows];
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

void Attention::Split(const Work& work) {
  segments_.clear();
  for (int i = 0; i < work.rows.count; ++i) {
    const int row = work.rows[i];
    const int before = i > 0 ? work.rows[i - 1] : row;
    const bool follows = work.step.slots[row] == work.step.slots[before] &&
                         work.step.positions[row] == work.step.positions[before] + 1;
    if (follows && segments_.back().count < rows_per_segment_) {
      ++segments_.back().count;
    } else {
      segments_.push_back({i, 1});
    }
  }
}

void Attention::Run(const StepInput& step, const RowList& rows, int layer, const PageStore& pages,
                    Matrix& q) {
  const Work work{step, rows, layer, pages, q};
  Split(work);
  const int64_t tasks = static_cast<int64_t>(segments_.size()) * shape_.kv_heads;
  pool_.ParallelFor(tasks, [&](int64_t task, int thread) {
    RunSegment(work, segments_[task / shape_.kv_heads], task % shape_.kv_heads,
               Scratch(scratch_[thread]));
  });
}

void Attention::RunSegment(const Work& work, const Segment& segment, int kv_head,
                           const Scratch& scratch) const {
  Queries queries;
  Collect(work, segment, kv_head, scratch, queries);
  // The rows follow each other: one of them sees each position of the range.
  const int begin = *std::min_element(queries.begins, queries.begins + queries.count);
  if (begin > 0) MergeRange(work, 0, work.step.sink_tokens, scratch, queries);
  MergeRange(work, begin, queries.ends[queries.count - 1], scratch, queries);
  for (int i = 0; i < queries.count; ++i) {
    const float inverse = 1.0f / queries.states[i].sum;
    for (int d = 0; d < shape_.head_dim; ++d) {
      queries.vectors[i][d] = queries.states[i].output[d] * inverse;
    }
  }
}

void Attention::Collect(const Work& work, const Segment& segment, int kv_head,
                        const Scratch& scratch, Queries& queries) const {
  const int dim = shape_.head_dim;
  const int group = shape_.heads / shape_.kv_heads;
  queries.slot = work.step.slots[work.rows[segment.begin]];
  queries.kv_head = kv_head;
  for (int i = 0; i < segment.count; ++i) {
    const int row = work.rows[segment.begin + i];
    for (int g = 0; g < group; ++g) {
      const int n = queries.count++;
      queries.vectors[n] = work.q.row(row) + (kv_head * group + g) * dim;
      queries.begins[n] = WindowBegin(work.step, row, work.layer);
      queries.ends[n] = work.step.positions[row] + 1;
      queries.states[n] = {-std::numeric_limits<float>::infinity(), 0.0f,
                           scratch.outputs + n * dim};
      std::fill_n(queries.states[n].output, dim, 0.0f);
    }
  }
}

void Attention::MergeRange(const Work& work, int begin, int end, const Scratch& scratch,
                           Queries& queries) const {
  for (int from = begin; from < end;) {
    const int to = std::min(end, (from / kBlockTokens + 1) * kBlockTokens);
    MergeTokens(work, from, to, scratch, queries);
    from = to;
  }
}

// Positions [begin, end) of one block.
void Attention::MergeTokens(const Work& work, int begin, int end, const Scratch& scratch,
                            Queries& queries) const {
  const int dim = shape_.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const float* keys[kBlockTokens];
  const float* values[kBlockTokens];
  for (int t = begin; t < end; ++t) {
    const auto token = [&](PageStore::Part part) {
      return work.pages.Token(queries.slot, work.layer, t, part, queries.kv_head);
    };
    keys[t - begin] = token(PageStore::Part::kKey);
    values[t - begin] = token(PageStore::Part::kValue);
  }
  DotBlock({.inputs = queries.vectors,
            .rows = queries.count,
            .outputs = reinterpret_cast<const void* const*>(keys),
            .num_outputs = end - begin,
            .type = DType::kF32,
            .k = dim,
            .sums = scratch.scores,
            .sums_stride = kBlockTokens,
            .scratch = scratch.dot});
  for (int i = 0; i < queries.count; ++i) {
    const auto merge = [&](int from, int to) {
      if (from >= to) return;
      MergeBlock(scale, to - from, scratch.scores + i * kBlockTokens + from - begin,
                 values + from - begin, dim, queries.states[i]);
    };
    if (queries.begins[i] > 0) merge(begin, std::min(end, work.step.sink_tokens));
    merge(std::max(begin, queries.begins[i]), std::min(end, queries.ends[i]));
  }
}

}  // namespace skipstone
