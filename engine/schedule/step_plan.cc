#include "engine/schedule/step_plan.h"

#include <utility>

namespace skipstone {

void StepPlan::Clear() {
  StepPlan empty;
  const auto keep = [](auto& from, auto& to) {
    from.clear();
    to = std::move(from);
  };
  keep(chunks, empty.chunks);
  keep(tokens, empty.tokens);
  keep(slot_starts, empty.slot_starts);
  keep(page_updates, empty.page_updates);
  keep(page_copies, empty.page_copies);
  keep(started, empty.started);
  *this = std::move(empty);
}

}  // namespace skipstone
