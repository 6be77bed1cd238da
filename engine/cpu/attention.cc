#include "engine/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "engine/cpu/attend_values.h"
#include "engine/cpu/dot_block.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

constexpr int kBlockTokens = kDotOutputs;
// MergeBlock writes beyond the last score.
constexpr int kScoreStride = kBlockTokens + kScoreUnit;
// More rows of one sequence share a block of keys, fewer give more tasks.
constexpr int kMaxSegmentRows = 24;
// Queries that are scored together where not all see the whole block: four tiles of the product.
constexpr int kEdgeQueries = 24;

// Where the window of a row begins; 0 if it sees all positions up to its own, as where window and
// sink meet.
int WindowBegin(const StepInput& step, int row, int layer) {
  const int window = step.Window(row, layer);
  const int begin = step.positions[row] + 1 - window;
  return window > 0 && begin > step.sink_tokens ? begin : 0;
}

// Whether `row` is the next of the same slot, and sees as many parts of it as the one before.
bool Follows(const StepInput& step, int row, int before, int layer) {
  return step.slots[row] == step.slots[before] &&
         step.positions[row] == step.positions[before] + 1 &&
         step.Window(row, layer) == step.Window(before, layer) &&
         (WindowBegin(step, row, layer) > 0) == (WindowBegin(step, before, layer) > 0);
}

}  // namespace

// One thread's memory.
struct Attention::Scratch {
  float* dot;      // kDotScratchFloats
  float* scores;   // [query][kScoreStride]
  float* outputs;  // [query][head_dim]

  explicit Scratch(const Buffer& buffer)
      : dot(buffer.as<float>()),
        scores(dot + kDotScratchFloats),
        outputs(scores + kDotRows * kScoreStride) {}
  static int64_t Floats(int head_dim) {
    return kDotScratchFloats + kDotRows * (kScoreStride + int64_t{head_dim});
  }
};

// The queries of a segment that read one K/V head, each one head of one row, and what they have
// seen of it.
class Attention::Queries {
 public:
  Queries(const PageStore& pages, int slot, int layer, int kv_head, int head_dim,
          const Scratch& scratch)
      : pages_(pages),
        slot_(slot),
        layer_(layer),
        kv_head_(kv_head),
        dim_(head_dim),
        scale_(1.0f / std::sqrt(static_cast<float>(head_dim))),
        scratch_(scratch) {}

  // Beside the sink the query sees positions [begin, end). Neither falls from query to query.
  void Add(float* query, int begin, int end) {
    Scale(query, scale_, dim_, query);
    float* output = scratch_.outputs + count_ * dim_;
    std::fill_n(output, dim_, 0.0f);
    vectors_[count_] = query;
    begins_[count_] = begin;
    ends_[count_] = end;
    states_[count_++] = {-std::numeric_limits<float>::infinity(), 0.0f, output};
  }

  // Merges positions [0, sink), which all queries see, and then what each sees beside them.
  void Merge(int sink) {
    MergeRange(0, sink, /*sink=*/true);
    MergeRange(begins_[0], ends_[count_ - 1], /*sink=*/false);
  }

  // Turns the queries into their attention.
  void Finish() {
    for (int i = 0; i < count_; ++i) {
      Scale(states_[i].output, 1.0f / states_[i].sum, dim_, vectors_[i]);
    }
  }

 private:
  void MergeRange(int begin, int end, bool sink) {
    while (begin < end) {
      const int next = std::min(end, (begin / kBlockTokens + 1) * kBlockTokens);
      MergeTokens(begin, next, sink);
      begin = next;
    }
  }

  // Positions [begin, end) of one block.
  void MergeTokens(int begin, int end, bool sink) {
    const float* keys[kBlockTokens];
    const float* values[kBlockTokens];
    for (int t = begin; t < end; ++t) {
      keys[t - begin] = pages_.Token(slot_, layer_, t, PageStore::Part::kKey, kv_head_);
      values[t - begin] = pages_.Token(slot_, layer_, t, PageStore::Part::kValue, kv_head_);
    }
    // What queries [first, last] see of it begins and ends so far behind `begin`.
    const auto from = [&](int first) { return sink ? 0 : std::max(0, begins_[first] - begin); };
    const auto to = [&](int last) { return std::min(end, ends_[last]) - begin; };
    const bool whole = from(count_ - 1) == 0 && to(0) == end - begin;
    const int together = whole ? count_ : kEdgeQueries;
    for (int i = 0; i < count_; i += together) {
      const int n = std::min(together, count_ - i);
      Score(i, n, keys, from(i), to(i + n - 1));
    }
    for (int i = 0; i < count_; ++i) {
      if (from(i) >= to(i)) continue;
      MergeBlock(to(i) - from(i), scores(i) + from(i), values + from(i), dim_, states_[i]);
    }
  }

  // Scores of queries [first, first + count) with keys [from, to).
  void Score(int first, int count, const float* const* keys, int from, int to) {
    if (from >= to) return;
    DotBlock({.inputs = vectors_ + first,
              .rows = count,
              .outputs = reinterpret_cast<const void* const*>(keys + from),
              .num_outputs = to - from,
              .type = DType::kF32,
              .k = dim_,
              .sums = scores(first) + from,
              .sums_stride = kScoreStride,
              .scratch = scratch_.dot});
  }

  float* scores(int query) const { return scratch_.scores + query * kScoreStride; }

  const PageStore& pages_;
  const int slot_;
  const int layer_;
  const int kv_head_;
  const int dim_;
  const float scale_;
  const Scratch scratch_;
  int count_ = 0;
  float* vectors_[kDotRows];
  int begins_[kDotRows];
  int ends_[kDotRows];
  SoftmaxState states_[kDotRows];
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

void Attention::Split(const StepInput& step, const RowList& rows, int layer) {
  segments_.clear();
  for (int i = 0; i < rows.count; ++i) {
    const bool follows = i > 0 && Follows(step, rows[i], rows[i - 1], layer);
    if (follows && segments_.back().count < rows_per_segment_) {
      ++segments_.back().count;
    } else {
      segments_.push_back({i, 1});
    }
  }
}

void Attention::Run(const StepInput& step, const RowList& rows, int layer, const PageStore& pages,
                    Matrix& q) {
  Split(step, rows, layer);
  const int dim = shape_.head_dim;
  const int group = shape_.heads / shape_.kv_heads;
  const int64_t tasks = static_cast<int64_t>(segments_.size()) * shape_.kv_heads;
  pool_.ParallelFor(tasks, [&](int64_t task, int thread) {
    const Segment& segment = segments_[task / shape_.kv_heads];
    const int kv_head = static_cast<int>(task % shape_.kv_heads);
    const int first = rows[segment.begin];
    Queries queries(pages, step.slots[first], layer, kv_head, dim, Scratch(scratch_[thread]));
    for (int i = segment.begin; i < segment.begin + segment.count; ++i) {
      const int begin = WindowBegin(step, rows[i], layer);
      for (int g = 0; g < group; ++g) {
        queries.Add(q.row(rows[i]) + (kv_head * group + g) * dim, begin,
                    step.positions[rows[i]] + 1);
      }
    }
    queries.Merge(WindowBegin(step, first, layer) > 0 ? step.sink_tokens : 0);
    queries.Finish();
  });
}

}  // namespace skipstone
