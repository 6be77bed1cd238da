#include "server/guardrails.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/read_file.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

namespace fs = std::filesystem;

constexpr char kSuffix[] = ".guardrails.json";

std::string LabelOf(const WatchedExperiment& experiment, const std::string& arm) {
  return experiment.name + "/" + arm;
}

int64_t NowUnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string NameOf(const experiment::GuardrailSpec& limit) {
  return absl::StrFormat("%s %s %g", limit.metric, limit.is_lower ? "min" : "max", limit.limit);
}

absl::Status ErrorOf(const WatchedExperiment& experiment, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrFormat("experiments.%s.%s", experiment.name, what));
}

absl::Status AddLimit(const GuardrailConfig& guardrail, WatchedExperiment& experiment) {
  const auto made = experiment::ArmGuardrail::Make(guardrail.limit, experiment.design);
  if (!made.ok()) {
    return ErrorOf(experiment, absl::StrCat("guardrails: ", made.status().message()));
  }
  bool found = false;
  for (WatchedExperiment::Arm& arm : experiment.arms) {
    const bool is_first = &arm == &experiment.arms.front();
    if (guardrail.arm.empty() ? is_first : arm.name != guardrail.arm) continue;
    arm.limits.push_back(guardrail.limit);
    found = true;
  }
  if (found) return absl::OkStatus();
  return ErrorOf(experiment,
                 guardrail.arm.empty()
                     ? "guardrails: the experiment has no arm but the first one"
                     : absl::StrFormat("guardrails: there is no arm '%s'", guardrail.arm));
}

// Nothing else says when to go on.
absl::Status CheckRamp(const WatchedExperiment& experiment) {
  for (size_t i = 1; i < experiment.arms.size(); ++i) {
    if (!experiment.arms[i].limits.empty()) continue;
    return ErrorOf(experiment, absl::StrFormat("ramp: no guardrail says whether '%s' may grow",
                                               experiment.arms[i].name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<WatchedExperiment>> WatchedExperimentsOf(
    const Experiments& experiments) {
  std::vector<WatchedExperiment> all;
  for (const Experiment& experiment : experiments.all()) {
    const ExperimentConfig& config = experiment.config();
    const bool is_ramped = !config.ramp.steps.empty();
    if (!config.enabled || (config.guardrails.empty() && !is_ramped)) continue;
    WatchedExperiment& watched = all.emplace_back();
    watched.name = config.name;
    watched.generations = experiment.generations();
    watched.hold = absl::ToChronoMilliseconds(config.ramp.hold);
    if (experiment.schedule() != nullptr) watched.design = experiment::Design::kSwitchback;
    for (const ArmConfig& arm : config.arms) watched.arms.push_back({arm.name, {}});
    for (const GuardrailConfig& guardrail : config.guardrails) {
      SKIPSTONE_RETURN_IF_ERROR(AddLimit(guardrail, watched));
    }
    if (is_ramped) SKIPSTONE_RETURN_IF_ERROR(CheckRamp(watched));
  }
  return all;
}

Guardrails::Guardrails(ArmSwitches& switches, ServerMetrics& metrics, Options options)
    : switches_(switches), metrics_(metrics), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<Guardrails>> Guardrails::Make(
    const std::vector<WatchedExperiment>& experiments, ArmSwitches& switches,
    ServerMetrics& metrics, const Options& options) {
  Options filled = options;
  if (!filled.now_unix_ms) filled.now_unix_ms = NowUnixMs;
  std::unique_ptr<Guardrails> guardrails(new Guardrails(switches, metrics, std::move(filled)));
  for (const WatchedExperiment& each : experiments) {
    SKIPSTONE_RETURN_IF_ERROR(guardrails->Add(each));
  }
  if (guardrails->options_.seen) {
    SKIPSTONE_RETURN_IF_ERROR(guardrails->TakeOver(*guardrails->options_.seen, /*own=*/true));
  }
  if (options.folder.empty() || experiments.empty()) return guardrails;
  std::error_code error;
  fs::create_directories(options.folder, error);
  {
    MutexLock lock(guardrails->sync_mutex_);
    SKIPSTONE_RETURN_IF_ERROR(guardrails->ReadFolder(/*with_own=*/!options.seen));
  }
  guardrails->thread_ = std::thread([g = guardrails.get()] { g->Run(); });
  return guardrails;
}

Guardrails::~Guardrails() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
  }
  wake_.NotifyAll();
  if (!thread_.joinable()) return;
  thread_.join();
  Sync();
}

absl::Status Guardrails::Add(const WatchedExperiment& watched) {
  State state{.watched = watched, .arms = {}, .since_unix_ms = options_.now_unix_ms()};
  for (const WatchedExperiment::Arm& each : watched.arms) {
    Arm& arm = state.arms.emplace_back();
    arm.name = each.name;
    for (const experiment::GuardrailSpec& limit : each.limits) {
      auto guardrail = experiment::ArmGuardrail::Make(limit, watched.design);
      if (!guardrail.ok()) {
        return ErrorOf(watched, absl::StrCat("guardrails: ", guardrail.status().message()));
      }
      arm.guardrails.push_back(*std::move(guardrail));
    }
    metrics_.experiment_arm_enabled(LabelOf(watched, each.name)).Set(1);
    metrics_.guardrail_trips_total(LabelOf(watched, each.name)).Increment(0);
  }
  if (state.last_step() > 0) metrics_.experiment_ramp_step(watched.name).Set(0);
  experiments_.push_back(std::move(state));
  return absl::OkStatus();
}

Guardrails::Arm* Guardrails::State::Find(const std::string& arm) {
  const auto found = std::ranges::find(arms, arm, &Arm::name);
  return found == arms.end() ? nullptr : &*found;
}

Guardrails::State* Guardrails::Find(const std::string& experiment, uint64_t generation) {
  const auto found = std::ranges::find_if(experiments_, [&](const State& state) {
    return state.watched.name == experiment &&
           std::ranges::count(state.watched.generations, generation) > 0;
  });
  return found == experiments_.end() ? nullptr : &*found;
}

void Guardrails::Take(const experiment::ExposureRecord& record) {
  for (const experiment::Exposure& exposure : record.exposures) {
    if (!exposure.assigned()) continue;
    State* const state = Find(exposure.experiment, exposure.generation.value);
    Arm* const arm = state == nullptr ? nullptr : state->Find(exposure.arm);
    if (arm == nullptr || arm->guardrails.empty()) continue;
    const std::string why = Judge(record, exposure, *arm);
    if (why.empty()) {
      TakeStepIfDue(*state);
    } else if (TurnOff(*state, arm->name, why)) {
      metrics_.guardrail_trips_total(LabelOf(state->watched, arm->name)).Increment();
    }
  }
}

std::string Guardrails::Judge(const experiment::ExposureRecord& record,
                              const experiment::Exposure& exposure, Arm& arm) {
  std::string why;
  MutexLock lock(mutex_);
  changed_ = true;
  for (experiment::ArmGuardrail& guardrail : arm.guardrails) {
    guardrail.Take(record, exposure);
    if (guardrail.Look() != statistics::Verdict::kBreached) continue;
    why = absl::StrFormat("%s: %.4g after %d values", NameOf(guardrail.spec()),
                          guardrail.estimate().value_or(0), guardrail.state().moments.n);
  }
  return why;
}

void Guardrails::Changed() {
  {
    MutexLock lock(mutex_);
    changed_ = true;
  }
  wake_.NotifyAll();
}

bool Guardrails::TurnOff(const State& state, const std::string& arm, const std::string& why) {
  const std::string& name = state.watched.name;
  if (!switches_.TurnOff({name, arm, why, options_.now_unix_ms()})) return false;
  metrics_.experiment_arm_enabled(LabelOf(state.watched, arm)).Set(0);
  LogEvent(Severity::kWarning, "arm turned off",
           {{"experiment", name}, {"arm", arm}, {"why", why}});
  Changed();
  return true;
}

void Guardrails::TakeStepIfDue(State& state) {
  const size_t step = switches_.StepOf(state.watched.name, state.last_step());
  if (step == state.last_step()) return;
  const int64_t now = options_.now_unix_ms();
  {
    MutexLock lock(mutex_);
    if (now - state.since_unix_ms < state.watched.hold.count()) return;
    for (Arm& arm : state.arms) {
      if (switches_.IsOff(state.watched.name, arm.name)) return;
      for (experiment::ArmGuardrail& guardrail : arm.guardrails) {
        if (guardrail.Look() != statistics::Verdict::kHolds) return;
      }
    }
  }
  GoTo(state, step + 1, now);
}

void Guardrails::GoTo(State& state, size_t step, int64_t since_unix_ms) {
  if (!switches_.GoTo(state.watched.name, step)) return;
  {
    MutexLock lock(mutex_);
    state.since_unix_ms = since_unix_ms;
  }
  metrics_.experiment_ramp_step(state.watched.name).Set(static_cast<double>(step));
  LogEvent(Severity::kInfo, "ramp took a step",
           {{"experiment", state.watched.name}, {"step", std::to_string(step)}});
  Changed();
}

GuardrailFile Guardrails::File() const {
  GuardrailFile file;
  const std::vector<ArmSwitches::Off> off = switches_.off();
  MutexLock lock(mutex_);
  for (const State& state : experiments_) {
    const std::string& name = state.watched.name;
    for (const ArmSwitches::Off& each : off) {
      if (each.experiment != name) continue;
      file.off.push_back({name, state.generation(), each.arm, each.why, each.since_unix_ms});
    }
    const size_t step = switches_.StepOf(name, state.last_step());
    if (step > 0) {
      file.steps.push_back({name, state.watched.generations[step], state.since_unix_ms});
    }
    for (const Arm& arm : state.arms) {
      for (const experiment::ArmGuardrail& guardrail : arm.guardrails) {
        file.sums.push_back(
            {name, state.generation(), arm.name, NameOf(guardrail.spec()), guardrail.state()});
      }
    }
  }
  return file;
}

void Guardrails::Retire() {
  {
    MutexLock lock(mutex_);
    ending_ = retired_ = true;
  }
  wake_.NotifyAll();
}

absl::Status Guardrails::TakeOver(const GuardrailFile& file, bool own) {
  for (const GuardrailFile::Off& off : file.off) {
    State* const state = Find(off.experiment, off.generation);
    if (state != nullptr && state->Find(off.arm) != nullptr) TurnOff(*state, off.arm, off.why);
  }
  for (const GuardrailFile::Step& step : file.steps) {
    State* const state = Find(step.experiment, step.generation);
    if (state == nullptr) continue;
    const auto found = std::ranges::find(state->watched.generations, step.generation);
    GoTo(*state, found - state->watched.generations.begin(), step.since_unix_ms);
  }
  if (!own) return absl::OkStatus();
  MutexLock lock(mutex_);
  for (const GuardrailFile::Sums& sums : file.sums) {
    State* const state = Find(sums.experiment, sums.generation);
    Arm* const arm = state == nullptr ? nullptr : state->Find(sums.arm);
    if (arm == nullptr) continue;
    for (experiment::ArmGuardrail& guardrail : arm->guardrails) {
      if (NameOf(guardrail.spec()) != sums.limit) continue;
      SKIPSTONE_RETURN_IF_ERROR(guardrail.Restore(sums.state));
    }
  }
  return absl::OkStatus();
}

absl::Status Guardrails::ReadFolder(bool with_own) {
  std::error_code error;
  fs::directory_iterator files(options_.folder, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrFormat("--experiment_state: \"%s\": %s", options_.folder, error.message()));
  }
  const std::string own_name = options_.replica + kSuffix;
  for (; !error && files != fs::directory_iterator(); files.increment(error)) {
    const std::string name = files->path().filename().string();
    const bool own = name == own_name;
    if (!name.ends_with(kSuffix) || (own && !with_own)) continue;
    const auto text = ReadFile("--experiment_state", files->path().string());
    const auto file = text.ok() ? ParseGuardrailFile(*text) : text.status();
    const absl::Status status = file.ok() ? TakeOver(*file, own) : file.status();
    if (status.ok()) broken_.erase(name);
    if (status.ok() || !broken_.insert(name).second) continue;
    LogEvent(Severity::kWarning, "experiment state not read",
             {{"file", files->path().string()}, {"why", std::string(status.message())}});
  }
  return absl::OkStatus();
}

void Guardrails::Sync() {
  MutexLock sync(sync_mutex_);
  bool write = false;
  {
    MutexLock lock(mutex_);
    if (retired_) return;
    write = std::exchange(changed_, false);
  }
  const fs::path own = fs::path(options_.folder) / (options_.replica + kSuffix);
  absl::Status status =
      write ? ReplaceFile(own.string(), FormatGuardrailFile(File())) : absl::OkStatus();
  if (!status.ok()) {
    MutexLock lock(mutex_);
    changed_ = true;
  }
  const absl::Status read = ReadFolder(/*with_own=*/false);
  if (status.ok()) status = read;
  if (!status.ok() && !complained_) {
    LogEvent(Severity::kWarning, "experiment state not kept",
             {{"why", std::string(status.message())}});
  }
  complained_ = !status.ok();
}

void Guardrails::Run() {
  while (true) {
    {
      MutexLock lock(mutex_);
      const auto until = std::chrono::steady_clock::now() + kSyncEvery;
      while (!ending_ && wake_.WaitUntil(mutex_, until)) {
        if (changed_) break;
      }
      if (ending_) return;
    }
    Sync();
  }
}

}  // namespace skipstone::server
