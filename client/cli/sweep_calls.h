// The calls that a sweep's results come from: Score, and Generate for times and continuations.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/sweep_plan.h"
#include "client/cli/sweep_results.h"

namespace skipstone::client {

// Thread-safe. All referenced objects must outlive it.
class SweepCalls {
 public:
  SweepCalls(const Client& client, const CallOptions& options, const SweepPlan& plan);

  // Blocks. Errors: those of the calls, naming flag and line.
  absl::StatusOr<SweepResult> Measure(const SweepKey& key) const;

 private:
  absl::StatusOr<SweepResult> MeasureSpeed(int run, const SweptSkip& swept) const;
  absl::StatusOr<SweepResult> ScoreWindow(int window, const SweptSkip& swept) const;
  absl::StatusOr<SweepResult> ScoreChoices(const quality::ChoiceItem& item,
                                           const SweptSkip& swept) const;
  absl::StatusOr<SweepResult> ScoreLastWord(const quality::LastWordItem& item,
                                            const SweptSkip& swept) const;
  absl::StatusOr<SweepResult> ContinueTwice(int prompt, const SweptSkip& swept) const;
  absl::StatusOr<Continuation> Continue(int prompt, const SweptSkip& swept,
                                        float temperature) const;
  void AddItem(const quality::TextOrIds& context, const quality::TextOrIds& continuation,
               v1::ScoreRequest& request) const;
  absl::StatusOr<v1::ScoreResponse> Score(v1::ScoreRequest request, const v1::Skip& skip) const;

  const Client& client_;
  const CallOptions& options_;
  const SweepPlan& plan_;
  const std::string salt_;  // of this run of the program: no prompt finds its pages in the cache
};

}  // namespace skipstone::client
