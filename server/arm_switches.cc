#include "server/arm_switches.h"

#include <nlohmann/json.hpp>

namespace skipstone::server {
namespace {

using nlohmann::json;

absl::Status NoState() {
  return absl::InvalidArgumentError(
      "no state of arms: {\"off\": [{experiment, arm, why, since_unix_ms}, ...]} is wanted");
}

bool Has(const json& object, const char* key, bool (json::*is)() const noexcept) {
  const auto found = object.find(key);
  return found != object.end() && ((*found).*is)();
}

}  // namespace

bool ArmSwitches::IsOff(const std::string& experiment, const std::string& arm) const {
  if (!any_.load(std::memory_order_relaxed)) return false;
  MutexLock lock(mutex_);
  return off_.contains({experiment, arm});
}

bool ArmSwitches::TurnOff(Off off) {
  MutexLock lock(mutex_);
  any_ = true;
  std::pair key(off.experiment, off.arm);
  return off_.emplace(std::move(key), std::move(off)).second;
}

bool ArmSwitches::TurnOn(const std::string& experiment, const std::string& arm) {
  MutexLock lock(mutex_);
  const bool was_off = off_.erase({experiment, arm}) > 0;
  any_ = !off_.empty();
  return was_off;
}

std::vector<ArmSwitches::Off> ArmSwitches::off() const {
  MutexLock lock(mutex_);
  std::vector<Off> all;
  for (const auto& [key, off] : off_) all.push_back(off);
  return all;
}

std::string ArmSwitches::Save() const {
  json list = json::array();
  for (const Off& each : off()) {
    list.push_back({{"experiment", each.experiment},
                    {"arm", each.arm},
                    {"why", each.why},
                    {"since_unix_ms", each.since_unix_ms}});
  }
  return json{{"off", list}}.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::Status ArmSwitches::Restore(const std::string& text) {
  const json state = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !Has(state, "off", &json::is_array)) return NoState();
  std::map<std::pair<std::string, std::string>, Off> off;
  for (const json& each : state["off"]) {
    if (!Has(each, "experiment", &json::is_string) || !Has(each, "arm", &json::is_string) ||
        !Has(each, "why", &json::is_string) ||
        !Has(each, "since_unix_ms", &json::is_number_integer)) {
      return NoState();
    }
    Off read{each["experiment"], each["arm"], each["why"], each["since_unix_ms"]};
    std::pair key(read.experiment, read.arm);
    off.emplace(std::move(key), std::move(read));
  }
  MutexLock lock(mutex_);
  any_ = !off.empty();
  off_ = std::move(off);
  return absl::OkStatus();
}

}  // namespace skipstone::server
