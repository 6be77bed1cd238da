#include "tools/calibrate/budget.h"

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "engine/quality/level_search.h"

namespace skipstone::calibrate {
namespace {

using quality::Candidate;
using quality::Level;

// Positions that a row at `context` sees.
double Seen(int window, int context) {
  return window == 0 ? context : std::min(context, window + kSinkTokens);
}

// Bytes that a decode step of one sequence no longer reads.
double BytesSaved(const Candidate& candidate, const ModelWork& work, int context) {
  const bool attention = candidate.point == quality::AttentionPoint(candidate.point / 2);
  if (!attention) return work.mlp_bytes;
  const double all = work.query_bytes + work.kv_bytes + work.kv_token_bytes * context;
  if (candidate.window == 0) return all;
  return work.kv_token_bytes * (context - Seen(candidate.window, context));
}

double BytesOfStep(const ModelWork& work, int layers, int context) {
  return work.head_bytes + layers * (work.query_bytes + work.kv_bytes + work.mlp_bytes +
                                     work.kv_token_bytes * context);
}

double PagesSaved(const Candidate& candidate, int layers, int context) {
  if (candidate.point != quality::AttentionPoint(candidate.point / 2)) return 0;
  const double kept = candidate.window == 0 ? 0 : Seen(candidate.window, context) / context;
  return (1 - kept) / layers;
}

}  // namespace

absl::StatusOr<Level> CheapestLevel(quality::Trials& trials, const CalibrateOptions& options,
                                    const CalibratePlan& plan, Budget budget,
                                    const StepCost& step) {
  const int layers = trials.num_layers();
  std::vector<Candidate> candidates;
  std::vector<size_t> begins;  // of each sublayer's
  for (int layer = 0; layer < layers; ++layer) {
    if (plan.search.attention) {
      begins.push_back(candidates.size());
      candidates.push_back({.point = quality::AttentionPoint(layer)});
      for (const int width : plan.widths) {
        candidates.push_back({.point = quality::AttentionPoint(layer), .window = width});
      }
    }
    if (!plan.search.mlp) continue;
    begins.push_back(candidates.size());
    candidates.push_back({.point = quality::MlpPoint(layer)});
  }
  const Level full{.skip = SkipSet(layers)};
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<quality::Cost> costs,
                             trials.Measure(full, candidates));
  const double ms_of_byte = step.milliseconds / BytesOfStep(step.work, layers, options.context);
  std::vector<quality::KnapsackItem> items;
  for (size_t i = 0; i < begins.size(); ++i) {
    const size_t end = i + 1 < begins.size() ? begins[i + 1] : candidates.size();
    quality::KnapsackItem& item = items.emplace_back(quality::KnapsackItem{{}});
    for (size_t c = begins[i]; c < end; ++c) {
      const double saved = budget == Budget::kPages
                               ? PagesSaved(candidates[c], layers, options.context)
                               : ms_of_byte * BytesSaved(candidates[c], step.work, options.context);
      item.push_back({costs[c].kl, saved});
    }
  }
  const double wanted = budget == Budget::kPages ? options.save_pages : options.save_ms;
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<int> chosen, quality::Knapsack(items, wanted));
  Level level = full;
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i] > 0) level = With(level, candidates[begins[i] + chosen[i] - 1]);
  }
  return level;
}

}  // namespace skipstone::calibrate
