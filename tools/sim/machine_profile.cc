#include "tools/sim/machine_profile.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone {
namespace {

using Json = nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Bounds {
  double above;  // exclusive
  double at_most;
};

absl::StatusOr<double> Number(const Json& json, const char* key, Bounds bounds) {
  const auto it = json.find(key);
  if (it != json.end() && it->is_number()) {
    const double value = it->get<double>();
    if (value > bounds.above && value <= bounds.at_most) return value;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("profile: \"%s\" must be a number above %g and at most %g, is %s", key,
                      bounds.above, bounds.at_most, it == json.end() ? "absent" : it->dump()));
}

absl::StatusOr<int> ElementBytesOr(const Json& json, const char* key, int absent) {
  const auto it = json.find(key);
  if (it == json.end()) return absent;
  if (it->is_number_integer() && *it >= 1 && *it <= 8) return it->get<int>();
  return absl::InvalidArgumentError(
      absl::StrFormat("profile: \"%s\" must be an integer from 1 to 8, is %s", key, it->dump()));
}

}  // namespace

absl::StatusOr<MachineProfile> ParseMachineProfile(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("profile: not a JSON object");
  constexpr Bounds kCeiling{1e6, kInfinity};  // no machine is so slow; times stay within 64 bits
  constexpr Bounds kFraction{1e-3, 2};        // noise brings a measured one a little above 1
  constexpr Bounds kMilliseconds{0, 1e6};
  const auto backend = json.find("backend");
  const bool cpu = backend != json.end() && *backend == "cpu";
  SKIPSTONE_ASSIGN_OR_RETURN(const double bandwidth,
                             Number(json, "read_bandwidth_bytes_per_s", kCeiling));
  SKIPSTONE_ASSIGN_OR_RETURN(const double peak, Number(json, "peak_flops_per_s", kCeiling));
  SKIPSTONE_ASSIGN_OR_RETURN(const double decode, Number(json, "decode_floor_fraction", kFraction));
  SKIPSTONE_ASSIGN_OR_RETURN(const double prefill,
                             Number(json, "prefill_floor_fraction", kFraction));
  SKIPSTONE_ASSIGN_OR_RETURN(const int weights, ElementBytesOr(json, "weight_element_bytes", 2));
  SKIPSTONE_ASSIGN_OR_RETURN(const int kv, ElementBytesOr(json, "kv_element_bytes", cpu ? 4 : 2));
  double overhead_ms = 0;
  if (json.contains("step_overhead_ms")) {
    SKIPSTONE_ASSIGN_OR_RETURN(overhead_ms, Number(json, "step_overhead_ms", kMilliseconds));
  }
  return MachineProfile{
      .reached = {.bytes_per_s = bandwidth * decode, .flops_per_s = peak * prefill},
      .bytes = {.weights = weights, .kv = kv},
      .step_overhead_s = 1e-3 * overhead_ms};
}

}  // namespace skipstone
