// What the parts of a model weigh, and what a row of a skip set costs of them.
#pragma once

#include "engine/skip/liveness.h"

namespace skipstone {

// The default makes all sublayers equal.
struct ModelWork {
  double query_bytes = 1;     // weights of one attention sublayer: query and output projection
  double kv_bytes = 1;        // key and value projection
  double mlp_bytes = 2;       // weights of one MLP sublayer
  double head_bytes = 1;      // of the head
  double kv_token_bytes = 0;  // K and V of one token in one layer
  // Rows whose multiply-adds take as long as reading the weights they meet.
  double rows_per_read = 1;
};

// Weights that a row meets in such a layer.
double BytesOf(const ModelWork& work, const LayerParts& parts);

// Multiply-adds of rows with this last layer, as a share of those of a row that needs no logits
// without skipping: 0 (no attention is kept) to a little over 1.
double RowWork(const ModelWork& work, const SkipSet& skip, int last);

}  // namespace skipstone
