// What a Scheduler plans by.
#pragma once

#include <cstdint>
#include <limits>

#include "base/clock.h"
#include "engine/schedule/model_work.h"

namespace skipstone {

// Rows of a step at the most, per unit of its budget: rows that stop early cost less than 1.
inline constexpr int kMaxRowsPerWork = 2;

struct SchedulerOptions {
  // Work of one step, >= 1: decode rows, and prompt rows at what liveness leaves of them
  // (RowWork).
  int max_batch_tokens = 512;
  int max_sequences = 256;  // slots, >= 1
  int page_tokens = 16;
  int64_t num_pages = 0;
  bool prefix_cache = true;
  bool liveness = true;     // false: every row runs through all kept sublayers (for tests)
  bool fair_share = false;  // between tenants, by tokens served
  // More waiting sequences, or a greater share of the pages in use, mean Overloaded().
  int brownout_waiting = std::numeric_limits<int>::max();
  double brownout_pages = 0.95;
  // For whoever limits prefill (StepTimes): what it may add to a step in which others decode; 0: no
  // bound.
  Duration itl_bound{};
  // Rows of shadows in a step that has no others, of both sides together: what arrives waits for
  // one such step. And beside decode rows: where the device has room for them at no cost.
  int shadow_rows = 32;
  int shadow_rows_beside = 0;
  ModelWork work;  // unit of the step budget and of attributed times
};

}  // namespace skipstone
