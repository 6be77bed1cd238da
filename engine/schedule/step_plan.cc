#include "engine/schedule/step_plan.h"

#include <algorithm>
#include <utility>

namespace skipstone {

// There are few, as many as levels in use: a scan beats a hash.
int32_t StepPlan::FindOrAdd(const SkipSet& skip) {
  const auto known = std::ranges::find(sets, skip);
  const auto place = static_cast<int32_t>(known - sets.begin());
  if (known == sets.end()) sets.push_back(skip);
  return place;
}

void StepPlan::Clear() {
  StepPlan empty;
  const auto keep = [](auto& from, auto& to) {
    from.clear();
    to = std::move(from);
  };
  keep(chunks, empty.chunks);
  keep(sets, empty.sets);
  keep(tokens, empty.tokens);
  keep(slot_starts, empty.slot_starts);
  keep(page_updates, empty.page_updates);
  keep(started, empty.started);
  *this = std::move(empty);
}

}  // namespace skipstone
