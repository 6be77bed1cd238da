// Which parts of a layer a row needs (SEMANTICS "Row liveness"). Nothing else knows the rule: row
// lists, pages, the cost of a step and its simulation ask here.
//
// A row that needs no logits is run for the K and V that later rows read, so one number says all
// about it: the deepest layer whose K and V it leaves, its last layer. Above the deepest full
// attention only windows and sinks read, and a long prompt shrinks from layer to layer.
#pragma once

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// What one layer does with a row.
struct LayerParts {
  bool kv = false;     // computes K and V and stores them
  bool query = false;  // computes Q, attends, projects; never without kv
  bool mlp = false;
  // A map stands in for the skipped sublayer.
  bool attention_map = false;
  bool mlp_map = false;

  friend auto operator<=>(const LayerParts&, const LayerParts&) = default;
};

// The last layer of a row that needs logits: it runs all that its set keeps.
inline constexpr int kAllLayers = kMaxLayers;

// For a row with this last layer, at which it only stores K and V.
LayerParts PartsOf(const SkipSet& skip, int layer, int last);

// Sublayers that the set keeps and that a row with this last layer does not begin.
int SublayersEliminated(const SkipSet& skip, int last);

// The rows of one skip set. A value; not thread-safe while changed.
class Liveness {
 public:
  // Rows at positions [begin, end) of one sequence with the same last layer. `kind`: its place
  // among kinds().
  struct Span {
    int begin;
    int end;
    int kind;
  };

  Liveness() = default;
  // Pages are filled whole or not at all, so what is run is rounded to blocks of page_tokens.
  Liveness(const SkipSet& skip, int page_tokens);

  // The last layers that rows may have, descending: first that of rows that need logits, the last
  // one that of rows far before them, -1 if these are not run at all.
  int num_kinds() const { return static_cast<int>(lasts_.size()); }
  int LastLayer(int kind) const { return lasts_[kind]; }

  // Calls visit(Span) for the rows at [begin, end), in order of position, where those from
  // `first_logits` on need logits.
  template <class Visit>
  void ForEachSpan(int begin, int end, int first_logits, Visit visit) const;

  // The first position, the sink's aside, whose K and V of `layer` rows from `row` on read. Never
  // decreases with `row` and `first_logits`. The layer's attention is kept.
  int FirstRead(int layer, int row, int first_logits) const;

 private:
  // Rows from here on have the kind's last layer, or a deeper one.
  int Reach(int kind, int first_logits) const {
    if (kind == 0) return first_logits;
    const int top = first_logits - top_window_ + 1;
    // Rounds down, of negative numbers too.
    const int block = top >= 0 ? top / page_tokens_ : -((page_tokens_ - 1 - top) / page_tokens_);
    return (block - blocks_behind_[kind]) * page_tokens_;
  }

  int page_tokens_ = 1;
  int sink_ = 0;        // positions of the blocks that hold the sink
  int top_window_ = 0;  // of the deepest kept layer, if it is windowed
  SkipSet skip_;
  absl::InlinedVector<int, 4> lasts_{kAllLayers};
  absl::InlinedVector<int, 4> blocks_behind_{0};  // that the windows below the top one add
};

template <class Visit>
void Liveness::ForEachSpan(int begin, int end, int first_logits, Visit visit) const {
  const int far = num_kinds() - 1;
  const auto give = [&](int from, int to, int kind) {
    if (from < to) visit(Span{from, to, kind});
  };
  int next = begin;
  if (far > 1) {  // the sink's rows are read by all windows
    const int sink_end = std::clamp(std::min(sink_, first_logits), begin, end);
    give(begin, sink_end, 1);
    next = sink_end;
  }
  for (int kind = far; kind >= 0; --kind) {
    const int stop = kind == 0 ? end : std::clamp(Reach(kind - 1, first_logits), next, end);
    give(next, stop, kind);
    next = stop;
  }
}

}  // namespace skipstone
