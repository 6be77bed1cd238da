// Which parts of a layer a row needs (SEMANTICS "Row liveness"). Nothing else knows the rule: row
// lists, the cost of a step and its simulation ask here.
#pragma once

#include "engine/skip/skip_set.h"

namespace skipstone {

// What one layer does with a row.
struct LayerParts {
  bool kv = false;     // computes K and V and stores them
  bool query = false;  // computes Q, attends, projects; never without kv
  bool mlp = false;

  friend auto operator<=>(const LayerParts&, const LayerParts&) = default;
};

// A row that needs logits runs all that its set keeps; another only what later tokens read of it.
LayerParts PartsOf(const SkipSet& skip, int layer, bool needs_logits);

// False for rows that leave nothing behind in any layer: they are not run at all.
bool RowsRun(const SkipSet& skip, bool needs_logits);

// Sublayers that the set keeps and that a row without logits does not begin.
int SublayersEliminated(const SkipSet& skip);

}  // namespace skipstone
