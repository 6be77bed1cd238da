#include "tools/calibrate/timing.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "tools/bench/bench.h"
#include "tools/calibrate/session.h"

namespace skipstone::calibrate {
namespace {

// Decode steps of each set, in turns.
constexpr int kSteps = 16;
constexpr int kRounds = 5;
constexpr int kPrompt = 256;

}  // namespace

absl::StatusOr<std::vector<SetTimes>> TimeSets(const CalibrateOptions& options,
                                               std::span<const SkipSet> sets) {
  std::vector<std::string> texts;
  const auto place_of = [&](const SkipSet& set) {
    return std::ranges::find(texts, set.WithoutMaps().ToString()) - texts.begin();
  };
  for (const SkipSet& set : sets) {
    if (place_of(set) == std::ssize(texts)) texts.push_back(set.WithoutMaps().ToString());
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const auto model, OpenForCalibration(options, nullptr));
  const int most = model->loaded.config.shape.max_context;
  BenchOptions bench;
  bench.model = options.model;
  bench.threads = options.threads;
  bench.skip = absl::StrJoin(texts, ";");
  bench.steps = kSteps;
  bench.rounds = kRounds;
  bench.context = std::max(1, std::min(options.context, most - kSteps * kRounds - 1));
  bench.prompt = std::min(kPrompt, most - 1);
  SKIPSTONE_ASSIGN_OR_RETURN(const BenchResult result, RunBench(bench, std::move(model->loaded)));
  const ArmResult& base = result.arms[0];
  // The first set's time by the ratio of neighbours: less noisy than each time alone.
  const auto of = [](const Phase& first, const Phase& phase) {
    return MedianOf(first, &Sample::seconds) / MedianRatio(first, phase, &Sample::seconds);
  };
  std::vector<SetTimes> times;
  for (const SkipSet& set : sets) {
    const ArmResult& arm = result.arms[place_of(set)];
    times.push_back({.decode_ms = 1e3 * of(base.decode, arm.decode),
                     .prefill_ms = 1e6 / bench.prompt * of(base.prefill, arm.prefill)});
  }
  return times;
}

}  // namespace skipstone::calibrate
