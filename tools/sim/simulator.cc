#include "tools/sim/simulator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/status.h"
#include "engine/kv/sequence_pages.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {

absl::StatusOr<std::vector<SkipSet>> ParseSkipSets(const std::vector<MixPart>& mix,
                                                   int num_layers) {
  std::vector<SkipSet> skips;
  for (const MixPart& part : mix) {
    SKIPSTONE_ASSIGN_OR_RETURN(skips.emplace_back(), ParseSkipSet(part.name, num_layers));
  }
  return skips;
}

Simulator::Simulator(const FleetOptions& options, const CostModel& cost, Workload workload,
                     std::vector<SkipSet> skips)
    : options_(options),
      workload_(std::move(workload)),
      skips_(std::move(skips)),
      router_(options.routing),
      autoscaler_(options.autoscaler, options.replicas) {
  const int most = std::max(options.replicas, options.autoscaler.most);
  loads_.resize(most);
  pages_.resize(most);
  waiting_.resize(most);
  engine_.scheduler = options.scheduler;
  engine_.limits.max_queue = options.max_queue;
  for (int i = 0; i < most; ++i) {
    replicas_.push_back(std::make_unique<Replica>(options.scheduler, cost, options.max_in_flight));
  }
  result_.gaps.resize(skips_.size());
  result_.total_pages = options.scheduler.num_pages * most;
}

SimResult Simulator::Run() {
  std::optional<PlannedRequest> next = workload_.Next();
  Time now{};
  const bool scales = options_.autoscaler.most > 0;
  while (next || NextEnd() != kNever) {
    now = std::min(next ? Time(next->arrival) : kNever, NextEnd());
    if (scales) now = std::min(now, autoscaler_.next());
    // All that happens at one instant is known before a replica plans its next step.
    for (int replica = 0; replica < std::ssize(replicas_); ++replica) {
      if (replicas_[replica]->next_end() == now) EndStep(replica, now);
    }
    for (; next && Time(next->arrival) == now; next = workload_.Next()) Arrive(*next);
    for (const int replica : touched_) Launch(replica, now);
    touched_.clear();
    if (scales) Scale(now);
    result_.pages.Set(now, static_cast<double>(pages_used_));
    result_.waiting.Set(now, static_cast<double>(num_waiting_));
  }
  if (!result_.requests.empty()) result_.seconds = Seconds(now - result_.requests[0].due);
  for (const auto& replica : replicas_) {
    result_.steps += replica->steps();
    result_.rows += replica->rows();
    result_.busy_seconds += Seconds(replica->busy());
  }
  return std::move(result_);
}

double Simulator::Demand(const Replica& replica) const {
  constexpr double kMostShed = 0.9;  // as in the rules of deploy/prometheus
  const EngineLoad load = replica.load();
  const double shed = options_.autoscaler.shed ? std::min(load.shed_level, kMostShed) : 0;
  return Saturation(load, engine_, Duration::zero()) / (1 - shed);
}

void Simulator::Scale(Time now) {
  demand_seconds_ += demand_ * Seconds(now - std::exchange(demand_since_, now));
  const double seconds = Seconds(now - decided_);
  if (autoscaler_.Advance(now, seconds > 0 ? demand_seconds_ / seconds : 0)) {
    decided_ = now;
    demand_seconds_ = 0;
  }
  const int serving = autoscaler_.serving();
  demand_ = 0;
  double shed = 0;
  for (int i = 0; i < serving; ++i) {
    demand_ += Demand(*replicas_[i]) / serving;
    shed += replicas_[i]->load().shed_level / serving;
  }
  result_.serving.Set(now, serving);
  result_.shed.Set(now, shed);
}

Time Simulator::NextEnd() const {
  Time next = kNever;
  for (const auto& replica : replicas_) next = std::min(next, replica->next_end());
  return next;
}

void Simulator::Arrive(const PlannedRequest& request) {
  const SkipSet& skip = skips_[request.part];
  const SequenceId id = result_.requests.size();
  SimRecord& record = result_.requests.emplace_back();
  record.part = request.part;
  record.due = Time(request.arrival);
  record.prompt_tokens = request.prompt_tokens;
  record.stored_tokens = request.prompt_tokens + request.output_tokens - 1;
  const SchedulerOptions& scheduler = options_.scheduler;
  const int64_t most = MostPagesFor(record.stored_tokens, skip, scheduler.page_tokens);
  if (most > scheduler.num_pages) return;
  std::optional<uint64_t> prefix;
  if (request.prefix >= 0) prefix = request.prefix;
  const int replica = router_.Choose(std::span(loads_).first(autoscaler_.serving()), prefix);
  SequenceSpec spec{.id = id,
                    .prompt = request.PromptTokens(),
                    .skip = skip,
                    .max_tokens = request.output_tokens,
                    .arrival = record.due};
  if (options_.ceiling && options_.ceiling->Contains(skip)) spec.ceiling = options_.ceiling;
  record.replica = static_cast<int16_t>(replica);
  record.browned_out = replicas_[replica]->Add(std::move(spec));
  EndsUnder(record.browned_out ? *options_.ceiling : skip, record);
  Touch(replica);
}

void Simulator::EndsUnder(const SkipSet& skip, SimRecord& record) const {
  record.kept_layers = static_cast<int16_t>(skip.KeptAttention());
  record.windowed_layers = static_cast<int16_t>(skip.WindowedAttention());
  record.pages = PagesFor(record.stored_tokens, skip, options_.scheduler.page_tokens);
}

void Simulator::EndStep(int replica, Time now) {
  for (const SequenceUpdate& update : replicas_[replica]->EndStep()) {
    SimRecord& record = result_.requests[update.id];
    if (const auto gap = record.AddTokens(now, 1)) result_.gaps[record.part].Add(Seconds(*gap));
    record.ended = now;
    record.preemptions = update.preemptions;
    if (update.applied.empty()) continue;
    record.shed = true;
    EndsUnder(update.applied.back().skip, record);
  }
  Touch(replica);
}

void Simulator::Touch(int replica) {
  loads_[replica] = replicas_[replica]->requests();
  if (std::ranges::find(touched_, replica) == touched_.end()) touched_.push_back(replica);
}

void Simulator::Launch(int replica, Time now) {
  Replica& server = *replicas_[replica];
  server.Launch(now, [this](const Sequence& sequence) {
    result_.requests[sequence.spec.id].cached_tokens = sequence.cached_tokens;
  });
  pages_used_ += server.pool().used() - std::exchange(pages_[replica], server.pool().used());
  num_waiting_ += server.num_waiting() - std::exchange(waiting_[replica], server.num_waiting());
}

}  // namespace skipstone
