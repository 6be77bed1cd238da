// What a step has to move and to compute at the least, counted from its row lists. With the
// ceilings of the machine this gives the floor of the step's time.
//
// Counted: every weight matrix that some row needs, once per step; K and V of the positions that
// some row sees, once per sequence and layer; K and V written; two FLOPs per multiply-add of
// products and attention. In a windowed layer a row sees the sink and its window. Not counted:
// activations (they stay in caches), norms, RoPE, softmax, sampling.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/backend.h"

namespace skipstone {

enum class Stage { kEmbed, kQkv, kAttend, kProject, kGateUp, kDown, kLogits };
inline constexpr int kNumStages = 7;
const char* NameOf(Stage stage);

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

// All that the cost of a layer depends on, in counts.
struct LayerWork {
  int64_t kv_rows = 0;
  int64_t query_rows = 0;
  int64_t mlp_rows = 0;
  int64_t read_positions = 0;  // that query rows see, each once per sequence
  int64_t pairs = 0;           // of a query row and a position that it sees

  friend bool operator==(const LayerWork&, const LayerWork&) = default;
};

// Of one of the step's layers. O(query rows x log of their number).
LayerWork WorkOf(int layer, const StepInput& step);

// Append the stages of one part of a step; those without rows are absent.
void AddEmbedCost(const ModelShape& shape, const ElementBytes& bytes, int64_t rows,
                  std::vector<StageCost>* costs);
void AddLayerCost(const ModelShape& shape, const ElementBytes& bytes, const LayerWork& work,
                  std::vector<StageCost>* costs);
void AddLogitsCost(const ModelShape& shape, const ElementBytes& bytes, int64_t rows,
                   std::vector<StageCost>* costs);

// The stages of a whole step in the order of Forward.
std::vector<StageCost> CostOf(const ModelShape& shape, const ElementBytes& bytes,
                              const StepInput& step);

// Sum of all fields; the stage is the first one's.
StageCost Total(std::span<const StageCost> costs);
// Sum of the floors: of one step, as its stages follow each other.
double Floor(std::span<const StageCost> costs, const Ceilings& ceilings);

}  // namespace skipstone
