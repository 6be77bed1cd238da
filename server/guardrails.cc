#include "server/guardrails.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/read_file.h"
#include "base/replace_file.h"
#include "base/status.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr char kSuffix[] = ".guardrails.json";

std::string LabelOf(const WatchedArm& arm) { return arm.experiment + "/" + arm.arm; }

std::string Hex(uint64_t value) { return absl::StrFormat("%016x", value); }

int64_t NowUnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string NameOf(const experiment::GuardrailSpec& limit) {
  return absl::StrFormat("%s %s %g", limit.metric, limit.is_lower ? "min" : "max", limit.limit);
}

Json JsonOf(const WatchedArm& arm) {
  return {{"experiment", arm.experiment}, {"arm", arm.arm}, {"generation", Hex(arm.generation)}};
}

statistics::GuardrailState StateOf(const Json& json) {
  statistics::GuardrailState state;
  state.moments.n = json.at("n").get<int64_t>();
  json.at("mean").get_to(state.moments.mean);
  json.at("comoment").get_to(state.moments.comoment);
  state.p_value = json.at("p_value").get<double>();
  return state;
}

// `arms`: all of the experiment. The first one is what the others are compared with.
absl::Status Watch(const GuardrailConfig& guardrail, std::span<WatchedArm> arms) {
  const auto error = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrFormat("experiments.%s.guardrails: %s", arms[0].experiment, what));
  };
  const auto made = experiment::ArmGuardrail::Make(guardrail.limit, arms[0].design);
  if (!made.ok()) return error(std::string(made.status().message()));
  bool found = false;
  for (size_t i = 0; i < arms.size(); ++i) {
    if (guardrail.arm.empty() ? i == 0 : arms[i].arm != guardrail.arm) continue;
    arms[i].limits.push_back(guardrail.limit);
    found = true;
  }
  if (found) return absl::OkStatus();
  return error(guardrail.arm.empty() ? "the experiment has no arm but the first one"
                                     : absl::StrFormat("there is no arm '%s'", guardrail.arm));
}

}  // namespace

absl::StatusOr<std::vector<WatchedArm>> WatchedArmsOf(const Experiments& experiments) {
  std::vector<WatchedArm> watched;
  for (const Experiment& experiment : experiments.all()) {
    const ExperimentConfig& config = experiment.config();
    if (!config.enabled || config.guardrails.empty()) continue;
    const size_t first = watched.size();
    for (const ArmConfig& arm : config.arms) {
      watched.push_back({.experiment = config.name,
                         .arm = arm.name,
                         .generation = experiment.generation(),
                         .design = experiment.schedule() != nullptr
                                       ? experiment::Design::kSwitchback
                                       : experiment::Design::kMixed});
    }
    for (const GuardrailConfig& guardrail : config.guardrails) {
      SKIPSTONE_RETURN_IF_ERROR(Watch(guardrail, std::span(watched).subspan(first)));
    }
  }
  return watched;
}

absl::StatusOr<std::unique_ptr<Guardrails>> Guardrails::Make(const std::vector<WatchedArm>& arms,
                                                             ArmSwitches& switches,
                                                             ServerMetrics& metrics,
                                                             const Options& options) {
  std::unique_ptr<Guardrails> guardrails(new Guardrails(switches, metrics, options));
  for (const WatchedArm& arm : arms) SKIPSTONE_RETURN_IF_ERROR(guardrails->Add(arm));
  if (options.folder.empty() || arms.empty()) return guardrails;
  std::error_code error;
  fs::create_directories(options.folder, error);
  {
    MutexLock lock(guardrails->sync_mutex_);
    SKIPSTONE_RETURN_IF_ERROR(guardrails->ReadFolder(/*with_own=*/true));
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

absl::Status Guardrails::Add(const WatchedArm& watched) {
  Arm arm{.watched = watched};
  for (const experiment::GuardrailSpec& limit : watched.limits) {
    auto guardrail = experiment::ArmGuardrail::Make(limit, watched.design);
    if (!guardrail.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("experiments.%s.guardrails: %s",
                                                        watched.experiment,
                                                        std::string(guardrail.status().message())));
    }
    arm.guardrails.push_back(*std::move(guardrail));
  }
  metrics_.experiment_arm_enabled(LabelOf(watched)).Set(1);
  metrics_.guardrail_trips_total(LabelOf(watched)).Increment(0);
  arms_.push_back(std::move(arm));
  return absl::OkStatus();
}

Guardrails::Arm* Guardrails::Find(const std::string& experiment, const std::string& arm,
                                  uint64_t generation) {
  const auto found = std::ranges::find_if(arms_, [&](const Arm& a) {
    return a.watched.experiment == experiment && a.watched.arm == arm &&
           a.watched.generation == generation;
  });
  return found == arms_.end() ? nullptr : &*found;
}

void Guardrails::Take(const experiment::ExposureRecord& record) {
  for (const experiment::Exposure& exposure : record.exposures) {
    if (!exposure.assigned()) continue;
    Arm* const arm = Find(exposure.experiment, exposure.arm, exposure.generation.value);
    if (arm == nullptr || arm->guardrails.empty()) continue;
    std::string why;
    {
      MutexLock lock(mutex_);
      changed_ = true;
      for (experiment::ArmGuardrail& guardrail : arm->guardrails) {
        guardrail.Take(record, exposure);
        if (guardrail.Look() != statistics::Verdict::kBreached) continue;
        why = absl::StrFormat("%s: %.4g after %d values", NameOf(guardrail.spec()),
                              guardrail.estimate().value_or(0), guardrail.state().moments.n);
      }
    }
    if (why.empty() || !TurnOff(arm->watched, why)) continue;
    metrics_.guardrail_trips_total(LabelOf(arm->watched)).Increment();
  }
}

bool Guardrails::TurnOff(const WatchedArm& arm, const std::string& why) {
  if (!switches_.TurnOff({arm.experiment, arm.arm, why, NowUnixMs()})) return false;
  metrics_.experiment_arm_enabled(LabelOf(arm)).Set(0);
  LogEvent(Severity::kWarning, "arm turned off",
           {{"experiment", arm.experiment}, {"arm", arm.arm}, {"why", why}});
  {
    MutexLock lock(mutex_);
    changed_ = true;
  }
  wake_.NotifyAll();
  return true;
}

std::string Guardrails::StateText() {
  Json off = Json::array(), sums = Json::array();
  for (const ArmSwitches::Off& entry : switches_.off()) {
    for (const Arm& arm : arms_) {
      if (arm.watched.experiment != entry.experiment || arm.watched.arm != entry.arm) continue;
      Json json = JsonOf(arm.watched);
      json["why"] = entry.why;
      json["since_unix_ms"] = entry.since_unix_ms;
      off.push_back(std::move(json));
    }
  }
  MutexLock lock(mutex_);
  for (const Arm& arm : arms_) {
    for (const experiment::ArmGuardrail& guardrail : arm.guardrails) {
      const statistics::GuardrailState& state = guardrail.state();
      Json json = JsonOf(arm.watched);
      json["limit"] = NameOf(guardrail.spec());
      json["n"] = state.moments.n;
      json["mean"] = state.moments.mean;
      json["comoment"] = state.moments.comoment;
      json["p_value"] = state.p_value;
      sums.push_back(std::move(json));
    }
  }
  return Json({{"format", kFormat}, {"off", off}, {"guardrails", sums}})
             .dump(1, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

absl::Status Guardrails::TakeState(const std::string& text, bool own) {
  // Third-party code that throws.
  try {
    const Json json = Json::parse(text);
    if (json.at("format").get<int>() != kFormat)
      return absl::InvalidArgumentError("another format");
    const auto arm_of = [this](const Json& entry) {
      return Find(entry.at("experiment").get<std::string>(), entry.at("arm").get<std::string>(),
                  std::stoull(entry.at("generation").get<std::string>(), nullptr, 16));
    };
    for (const Json& entry : json.at("off")) {
      const Arm* const arm = arm_of(entry);
      if (arm != nullptr) TurnOff(arm->watched, entry.at("why").get<std::string>());
    }
    if (!own) return absl::OkStatus();
    MutexLock lock(mutex_);
    for (const Json& entry : json.at("guardrails")) {
      Arm* const arm = arm_of(entry);
      if (arm == nullptr) continue;
      for (experiment::ArmGuardrail& guardrail : arm->guardrails) {
        if (NameOf(guardrail.spec()) != entry.at("limit").get<std::string>()) continue;
        SKIPSTONE_RETURN_IF_ERROR(guardrail.Restore(StateOf(entry)));
      }
    }
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(error.what());
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
    const absl::Status status = text.ok() ? TakeState(*text, own) : text.status();
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
    write = std::exchange(changed_, false);
  }
  const fs::path own = fs::path(options_.folder) / (options_.replica + kSuffix);
  absl::Status status = write ? ReplaceFile(own.string(), StateText()) : absl::OkStatus();
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
