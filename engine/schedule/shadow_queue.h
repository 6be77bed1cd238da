// Shadows: what was served is scored once more, under its level and under the full model, row
// beside row in the same steps, so that the two distributions can be compared. Pairs wait in a
// bounded queue, run one after the other, only where others leave room, and are dropped as soon as
// others need it: they change no one's outputs, and leave nothing in the prefix cache.
//
// Values in, values out: no thread, no clock. The step thread makes all calls.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/schedule/kv_manager.h"
#include "engine/schedule/scheduler_options.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/step_plan.h"
#include "engine/step/sampling.h"

namespace skipstone {

struct ShadowSpec {
  SequenceId id = 0;            // id and id + 1 are the pair's
  std::vector<int32_t> tokens;  // what was served, with its prompt
  int score_from = 0;           // 1 to tokens.size() - 1: the first served token
  SkipSet skip;                 // of the level
  std::string cache_salt;       // as the request's: what it may find in the prefix cache
};

// Of each token from score_from on, in order: the level's row, with its KL from the full model's,
// and the full model's. Both have the token's log-probability and the likeliest token.
struct ShadowRows {
  std::vector<LogitsResult> level;
  std::vector<LogitsResult> full;
};

class ShadowQueue {
 public:
  // How a shadow ended: with all its rows, or dropped, with none.
  struct Ended {
    SequenceId id = 0;
    std::optional<ShadowRows> rows;
  };

  explicit ShadowQueue(const SchedulerOptions& options) : options_(options) {}

  // Waits; the oldest that waits is dropped if there are more than kMostWaiting, and one at once
  // that would not fit the empty pool.
  void Add(ShadowSpec spec, const PagePool& pool);
  bool empty() const { return waiting_.empty() && !running_; }

  // Puts rows of the pair into the plan, no more than `rows`, of both together. Takes two of the
  // slots if it starts. Drops it if there are not the pages for it.
  void Plan(int rows, KvManager& kv, std::vector<int32_t>& free_slots, StepPlan* plan);
  // Of a shadow's chunk. Of one that was dropped meanwhile the results are not taken.
  void Commit(const SequenceChunk& chunk, std::span<const LogitsResult> results, KvManager& kv,
              std::vector<int32_t>& free_slots);
  // Pages and slots of the pair that runs are free for others. False if none runs.
  bool DropRunning(KvManager& kv, std::vector<int32_t>& free_slots);
  // The same, and those that wait.
  void DropAll(KvManager& kv, std::vector<int32_t>& free_slots);
  // Those that ended since the last call.
  std::vector<Ended> TakeEnded() { return std::exchange(ended_, {}); }

 private:
  static constexpr size_t kMostWaiting = 64;
  struct Pair {
    Pair(const ShadowSpec& spec, PagePool& pool, const SchedulerOptions& options);

    Sequence level, full;
    ShadowRows rows;
  };

  bool Start(KvManager& kv, std::vector<int32_t>& free_slots, StepPlan* plan);
  // Rows of one that is behind the other; rows of both.
  bool PlanAlone(Sequence& sequence, int rows, KvManager& kv, StepPlan* plan);
  bool PlanBoth(int rows, KvManager& kv, StepPlan* plan);
  void Release(KvManager& kv, std::vector<int32_t>& free_slots);

  const SchedulerOptions options_;
  std::deque<ShadowSpec> waiting_;
  std::optional<Pair> running_;
  std::vector<Ended> ended_;
};

}  // namespace skipstone
