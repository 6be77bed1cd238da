#include "tests/engine/schedule/traffic_simulation.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "tests/support/mapped_set.h"

namespace skipstone {
namespace {

constexpr int kMostWaiting = 20;

SchedulerOptions OptionsOf(const TrafficSetting& setting) {
  return {.max_batch_tokens = setting.max_batch_tokens,
          .max_sequences = 8,
          .page_tokens = kTrafficPageTokens,
          .num_pages = setting.num_pages,
          .prefix_cache = setting.prefix_cache,
          .fair_share = setting.fair_share,
          .brownout_waiting = setting.brownout_waiting,
          .brownout_pages = 2};
}

// Positions whose next prompt token gets a log-probability.
int PromptResultsOf(const SequenceSpec& spec) {
  const int prompt = static_cast<int>(spec.prompt.size());
  if (spec.scores()) return prompt - spec.score_from;
  return spec.prompt_logprobs >= 0 ? prompt - 1 : 0;
}

// `after` skips more attention than `before`, from the top, or windows the deepest that it keeps,
// and nothing else.
bool IsShed(const SkipSet& before, const SkipSet& after) {
  if (after.mlp() != before.mlp() || after == before) return false;
  for (int layer = 0; layer < before.num_layers(); ++layer) {
    const bool shed = before.KeepsAttention(layer) != after.KeepsAttention(layer) ||
                      before.Window(layer) != after.Window(layer);
    if (shed && layer < after.LastKeptAttention()) return false;
  }
  return after.Contains(before);
}

// Where a set was shed, the maps above its deepest kept attention are the ceiling's, and the others
// what they were.
bool HasMapsOfShed(const SkipSet& before, const SkipSet& after, const SkipSet& ceiling) {
  const int k = after.LastKeptAttention();
  for (int layer = 0; layer < after.num_layers(); ++layer) {
    const SkipSet& attention = layer > k ? ceiling : before;
    const SkipSet& mlp = layer >= k ? ceiling : before;
    if (!after.KeepsAttention(layer) && after.AttentionMap(layer) != attention.AttentionMap(layer))
      return false;
    if (!after.KeepsMlp(layer) && after.MlpMap(layer) != mlp.MlpMap(layer)) return false;
  }
  return true;
}

}  // namespace

TrafficSimulation::TrafficSimulation(const TrafficSetting& setting)
    : setting_(setting),
      options_(OptionsOf(setting)),
      scheduler_(options_),
      runner_({.vocab = kTrafficVocab,
               .page_tokens = kTrafficPageTokens,
               .num_pages = setting.num_pages,
               .num_layers = kTrafficLayers,
               .max_in_flight = setting.max_in_flight}),
      page_checks_(kTrafficPageTokens),
      plan_checks_(options_, kTrafficLayers, MapsOf({1, 2}, kTrafficLayers)),
      prefill_limit_(std::numeric_limits<double>::infinity()) {}

Failure TrafficSimulation::Run(std::span<const Operation> operations) {
  for (size_t i = 0; i < operations.size(); ++i) {
    Failure failure = Apply(operations[i]);
    if (!failure) failure = CheckAll();
    if (failure) return absl::StrFormat("operation %d: %s", i, *failure);
  }
  if (Failure failure = Drain()) return absl::StrFormat("at the end: %s", *failure);
  counts_.shared_pages = page_checks_.shared_pages();
  return std::nullopt;
}

Failure TrafficSimulation::Apply(const Operation& operation) {
  ++counts_.operations;
  switch (operation.kind) {
    case Operation::Kind::kAdd:
      Add(operation);
      return std::nullopt;
    case Operation::Kind::kRemove:
      Remove(operation);
      return std::nullopt;
    case Operation::Kind::kPlan:
      return Plan();
    case Operation::Kind::kCommit:
      return Commit();
    case Operation::Kind::kExpire:
      return Expire(operation);
    case Operation::Kind::kLimitPrefill:
      // Uneven on purpose; from time to time without a limit.
      prefill_limit_ = operation.value % 5 == 0 ? std::numeric_limits<double>::infinity()
                                                : 1 + operation.value % 1000 * 0.013;
      scheduler_.LimitPrefill(prefill_limit_);
      return std::nullopt;
  }
  return "no such operation";
}

void TrafficSimulation::Add(const Operation& operation) {
  if (scheduler_.num_waiting() >= kMostWaiting) return;
  const bool brown_out = scheduler_.Overloaded();
  for (SequenceSpec& spec : SpecsOf(setting_, operation)) {
    spec.id = next_id_++;
    if (brown_out && spec.ceiling) {
      spec.skip = *spec.ceiling;
      ++counts_.browned_out;
    }
    live_.emplace(spec.id, Live{.spec = spec, .tokens = spec.prompt});
    scheduler_.Add(std::move(spec));
    ++counts_.added;
  }
}

void TrafficSimulation::Remove(const Operation& operation) {
  if (live_.empty()) return;
  End(std::next(live_.begin(), operation.value % live_.size())->first);
}

void TrafficSimulation::End(SequenceId id) {
  scheduler_.Remove(id);
  live_.erase(id);
}

Failure TrafficSimulation::Plan() {
  if (std::ssize(in_flight_) >= setting_.max_in_flight) return std::nullopt;
  const std::vector<SequenceId> live = LiveIds();
  plan_checks_.Before(scheduler_, live, prefill_limit_);
  StepPlan plan = scheduler_.Next();
  counts_.preemptions += plan.preemptions;
  counts_.shed_layers += plan.shed_layers;
  counts_.prefix_hits += plan.prefix_hit_tokens;
  if (plan.empty()) {
    // With work left and nothing in flight it would be a deadlock.
    if (!in_flight_.empty() || live.empty()) return std::nullopt;
    return "nothing is in flight, and the plan is empty";
  }
  if (Failure failure = plan_checks_.After(scheduler_, plan)) return failure;
  runner_.Launch(plan);
  in_flight_.push_back(std::move(plan));
  return std::nullopt;
}

Failure TrafficSimulation::Commit() {
  if (in_flight_.empty()) return std::nullopt;
  const StepPlan plan = std::move(in_flight_.front());
  in_flight_.pop_front();
  const StepResults results = runner_.Collect();
  for (const SequenceUpdate& update : scheduler_.Commit(plan, results.logits)) {
    if (Failure failure = CheckUpdate(update)) {
      return absl::StrFormat("sequence %d: %s", update.id, *failure);
    }
    if (update.end == SequenceEnd::kNone) continue;
    live_.erase(update.id);
    ++counts_.completed;
  }
  return std::nullopt;
}

Failure TrafficSimulation::CheckUpdate(const SequenceUpdate& update) {
  const auto it = live_.find(update.id);
  if (it == live_.end()) return "an update of a sequence that ended";
  Live& live = it->second;
  if (Failure failure = CheckPromptResults(update, &live)) return failure;
  if (Failure failure = CheckApplied(update, &live)) return failure;
  if (update.sampled) {
    if (Failure failure = CheckToken(update, &live)) return failure;
  }
  return CheckEnd(update, live);
}

// Each once, in order, under the set that it started with.
Failure TrafficSimulation::CheckPromptResults(const SequenceUpdate& update, Live* live) {
  const SequenceSpec& spec = live->spec;
  const int first = spec.scores() ? spec.score_from : 1;
  for (const LogitsResult& result : update.prompt) {
    const int position = first + live->prompt_results++;
    if (position >= std::ssize(spec.prompt)) return "too many results of prompt tokens";
    const std::span<const int32_t> before(spec.prompt.data(), position);
    if (result.target.id != spec.prompt[position] ||
        result.target.logprob != FakeLogprob(before, spec.skip, result.target.id)) {
      return absl::StrFormat("wrong log-probability of prompt token %d", position);
    }
  }
  return std::nullopt;
}

// Ranges begin in order, each set sheds layers of the one before it, and none leaves the ceiling.
Failure TrafficSimulation::CheckApplied(const SequenceUpdate& update, Live* live) {
  const int token = static_cast<int>(live->tokens.size() - live->spec.prompt.size());
  for (const AppliedRange& range : update.applied) {
    const AppliedRange last =
        live->applied.empty() ? AppliedRange{0, live->spec.skip} : live->applied.back();
    if (!live->spec.ceiling) return "layers were shed without a ceiling";
    if (range.from_token < last.from_token || range.from_token > token) {
      return absl::StrFormat("a range from token %d on, told at token %d", range.from_token, token);
    }
    if (!IsShed(last.skip, range.skip) || !live->spec.ceiling->Contains(range.skip) ||
        !HasMapsOfShed(last.skip, range.skip, *live->spec.ceiling)) {
      return absl::StrFormat("%s after %s", range.skip.ToString(), last.skip.ToString());
    }
    live->applied.push_back(range);
  }
  return std::nullopt;
}

// The token that one-at-a-time execution draws: K and V of the layers still kept are the same
// under all sets that were in force.
Failure TrafficSimulation::CheckToken(const SequenceUpdate& update, Live* live) {
  const SkipSet& skip = live->applied.empty() ? live->spec.skip : live->applied.back().skip;
  const int32_t expected = FakeToken(live->tokens, skip, kTrafficVocab);
  if (update.sampled->sampled.id != expected) {
    return absl::StrFormat("token %d is %d, not %d", live->tokens.size() - live->spec.prompt.size(),
                           update.sampled->sampled.id, expected);
  }
  live->tokens.push_back(expected);
  return std::nullopt;
}

Failure TrafficSimulation::CheckEnd(const SequenceUpdate& update, const Live& live) const {
  const SequenceSpec& spec = live.spec;
  const int drawn = static_cast<int>(live.tokens.size() - spec.prompt.size());
  SequenceEnd expected = SequenceEnd::kNone;
  if (spec.scores()) {
    if (live.prompt_results == PromptResultsOf(spec)) expected = SequenceEnd::kScored;
  } else if (drawn > 0) {
    const bool stops = std::ranges::find(spec.stop_ids, live.tokens.back()) != spec.stop_ids.end();
    if (drawn == spec.max_tokens) expected = SequenceEnd::kLength;
    if (stops) expected = SequenceEnd::kStopToken;
  }
  if (update.end != expected) return "it ended too early, too late or for another reason";
  if (drawn > 0 && live.prompt_results != PromptResultsOf(spec))
    return "prompt results are missing";
  return std::nullopt;
}

Failure TrafficSimulation::Expire(const Operation& operation) {
  const Time now = operation.at;
  std::vector<SequenceId> ids = scheduler_.PastDeadline(now);
  if (Failure failure = CheckPast(ids, &SequenceSpec::deadline, now)) return failure;
  const std::vector<SequenceId> limited = scheduler_.PastTimeLimit(now);
  if (Failure failure = CheckPast(limited, &SequenceSpec::time_limit, now)) return failure;
  ids.insert(ids.end(), limited.begin(), limited.end());
  counts_.expired += static_cast<int>(ids.size());
  for (const SequenceId id : ids) End(id);

  const int64_t unowned = scheduler_.pool().free() + scheduler_.pool().cached();
  const double rate = operation.value % 8;  // rows per second
  for (const SequenceId id : scheduler_.Unreachable(now, rate)) {
    const Sequence& sequence = *scheduler_.Find(id);
    const double left = Seconds(sequence.spec.deadline - now);
    if (sequence.running() || sequence.preemptions > 0) return "it runs, and is unreachable";
    if (left * rate > sequence.PromptTokens()) return "there was time enough";
    ids.push_back(id);
    ++counts_.unreachable;
  }
  if (scheduler_.pool().free() + scheduler_.pool().cached() != unowned) {
    return "asking for the unreachable took pages";
  }
  for (const SequenceId id : ids) End(id);
  return std::nullopt;
}

Failure TrafficSimulation::CheckPast(const std::vector<SequenceId>& ids, Time SequenceSpec::*limit,
                                     Time now) const {
  size_t expected = 0;
  for (const auto& [id, live] : live_) expected += live.spec.*limit <= now ? 1 : 0;
  for (const SequenceId id : ids) {
    if (!live_.contains(id) || live_.at(id).spec.*limit > now) return "its time has not come";
  }
  if (ids.size() != expected) return "a sequence whose time has come is missing";
  return std::nullopt;
}

Failure TrafficSimulation::CheckAll() {
  const std::vector<SequenceId> live = LiveIds();
  if (Failure failure = page_checks_.Check(scheduler_, live)) return failure;
  if (scheduler_.num_running() + scheduler_.num_waiting() != std::ssize(live)) {
    return absl::StrFormat("%d run and %d wait of %d", scheduler_.num_running(),
                           scheduler_.num_waiting(), live.size());
  }
  return extra_check ? extra_check(*this) : std::nullopt;
}

Failure TrafficSimulation::Drain() {
  // Somebody gets on by a row in every step, and what preemption loses is bounded by the work of
  // those who gain from it.
  int64_t most_steps = 100;
  for (const auto& [id, live] : live_) {
    most_steps += 4 * (std::ssize(live.spec.prompt) + live.spec.max_tokens);
  }
  while (!live_.empty()) {
    if (most_steps-- == 0) return absl::StrFormat("%d sequences starve", live_.size());
    if (Failure failure = Plan()) return failure;
    if (Failure failure = CheckAll()) return failure;
    if (Failure failure = Commit()) return failure;
    if (Failure failure = CheckAll()) return failure;
    counts_.operations += 2;
  }
  while (!in_flight_.empty()) {
    if (Failure failure = Commit()) return failure;
  }
  if (scheduler_.pool().used() != 0) return "pages are in use by nobody";
  return std::nullopt;
}

std::vector<SequenceId> TrafficSimulation::LiveIds() const {
  std::vector<SequenceId> ids;
  for (const auto& [id, live] : live_) ids.push_back(id);
  return ids;
}

}  // namespace skipstone
