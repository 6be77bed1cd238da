// What names weights once a backend has them.
#pragma once

namespace skipstone {

// Names weights that the backend holds; only AddWeights makes one.
struct WeightId {
  int index = -1;
};

// A map that stands in for a skipped sublayer: up (down x) + scale * x + bias. What it lacks has no
// index; `up` without `down` is [hidden, hidden].
struct MapWeights {
  WeightId bias;   // [1, hidden]
  WeightId scale;  // [1, hidden], elementwise
  WeightId down;   // [rank, hidden]
  WeightId up;     // [hidden, rank]
};

}  // namespace skipstone
