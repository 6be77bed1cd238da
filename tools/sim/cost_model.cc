#include "tools/sim/cost_model.h"

#include <algorithm>
#include <cmath>

namespace skipstone {

Duration CostModel::TimeOf(const StepPlan& plan) {
  work_.Count(plan);
  costs_.clear();
  AddEmbedCost(shape_, machine_.bytes, work_.rows(), &costs_);
  AddLogitsCost(shape_, machine_.bytes, work_.logits_rows(), &costs_);
  double seconds = machine_.step_overhead_s + Floor(costs_, machine_.reached);
  for (const PlanWork::LayerGroup& group : work_.groups()) {
    costs_.clear();
    AddLayerCost(shape_, machine_.bytes, work_.Layer(group.layer), &costs_);
    seconds += group.count * Floor(costs_, machine_.reached);
  }
  return std::max(Duration(1), Duration(std::llround(1e9 * seconds)));
}

}  // namespace skipstone
