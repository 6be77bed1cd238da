// What a step has to move and to compute at the least, counted from its row lists. With the
// ceilings of the machine this gives the floor of the step's time.
//
// Counted: every weight matrix that some row needs, once per step; K and V of the positions that
// are attended to, once per sequence and layer; K and V written; two FLOPs per multiply-add of
// products and attention. Not counted: activations (they stay in caches), norms, RoPE, softmax,
// sampling.
#pragma once

#include <span>
#include <vector>

#include "engine/backend/backend.h"

namespace skipstone {

enum class Stage { kEmbed, kQkv, kAttend, kProject, kGateUp, kDown, kLogits };
inline constexpr int kNumStages = 7;
const char* NameOf(Stage stage);

// What the machine can do at the most.
struct Ceilings {
  double bytes_per_s = 0;  // read bandwidth
  double flops_per_s = 0;  // a multiply-add counts twice
};

// One stage of one layer in one step, or a sum of them.
struct StageCost {
  Stage stage = Stage::kEmbed;
  double weight_bytes = 0;
  double kv_bytes = 0;
  double flops = 0;

  double bytes() const { return weight_bytes + kv_bytes; }
  // Seconds of moving or of computing, whichever is longer.
  double Floor(const Ceilings& ceilings) const;
};

// Bytes of one element.
struct ElementBytes {
  int weights = 2;
  int kv = 4;
};

// The stages of a step in the order of Forward; those without rows are absent.
std::vector<StageCost> CostOf(const ModelShape& shape, const ElementBytes& bytes,
                              const StepInput& step);

// Sum of all fields; the stage is the first one's.
StageCost Total(std::span<const StageCost> costs);
// Sum of the floors: of one step, as its stages follow each other.
double Floor(std::span<const StageCost> costs, const Ceilings& ceilings);

}  // namespace skipstone
