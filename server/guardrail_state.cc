#include "server/guardrail_state.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace skipstone::server {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;

std::string Hex(uint64_t value) { return absl::StrFormat("%016x", value); }
uint64_t FromHex(const Json& json) { return std::stoull(json.get<std::string>(), nullptr, 16); }

Json ToJson(const GuardrailFile::Off& off) {
  return {{"experiment", off.experiment},
          {"generation", Hex(off.generation)},
          {"arm", off.arm},
          {"why", off.why},
          {"since_unix_ms", off.since_unix_ms}};
}

void FromJson(const Json& json, GuardrailFile::Off& off) {
  json.at("experiment").get_to(off.experiment);
  off.generation = FromHex(json.at("generation"));
  json.at("arm").get_to(off.arm);
  json.at("why").get_to(off.why);
  json.at("since_unix_ms").get_to(off.since_unix_ms);
}

Json ToJson(const GuardrailFile::Step& step) {
  return {{"experiment", step.experiment},
          {"generation", Hex(step.generation)},
          {"since_unix_ms", step.since_unix_ms}};
}

void FromJson(const Json& json, GuardrailFile::Step& step) {
  json.at("experiment").get_to(step.experiment);
  step.generation = FromHex(json.at("generation"));
  json.at("since_unix_ms").get_to(step.since_unix_ms);
}

Json ToJson(const GuardrailFile::Sums& sums) {
  return {{"experiment", sums.experiment},
          {"generation", Hex(sums.generation)},
          {"arm", sums.arm},
          {"limit", sums.limit},
          {"n", sums.state.moments.n},
          {"mean", sums.state.moments.mean},
          {"comoment", sums.state.moments.comoment},
          {"p_value", sums.state.p_value}};
}

void FromJson(const Json& json, GuardrailFile::Sums& sums) {
  json.at("experiment").get_to(sums.experiment);
  sums.generation = FromHex(json.at("generation"));
  json.at("arm").get_to(sums.arm);
  json.at("limit").get_to(sums.limit);
  sums.state.moments.n = json.at("n").get<int64_t>();
  json.at("mean").get_to(sums.state.moments.mean);
  json.at("comoment").get_to(sums.state.moments.comoment);
  sums.state.p_value = json.at("p_value").get<double>();
}

template <class T>
Json Listed(const std::vector<T>& all) {
  Json list = Json::array();
  for (const T& one : all) list.push_back(ToJson(one));
  return list;
}

template <class T>
void Read(const Json& list, std::vector<T>& all) {
  for (const Json& one : list) FromJson(one, all.emplace_back());
}

}  // namespace

std::string FormatGuardrailFile(const GuardrailFile& file) {
  const Json json = {{"format", kFormat},
                     {"off", Listed(file.off)},
                     {"steps", Listed(file.steps)},
                     {"guardrails", Listed(file.sums)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<GuardrailFile> ParseGuardrailFile(const std::string& text) {
  // Third-party code that throws.
  try {
    const Json json = Json::parse(text);
    if (json.at("format").get<int>() != kFormat) {
      return absl::InvalidArgumentError("another format");
    }
    GuardrailFile file;
    Read(json.at("off"), file.off);
    Read(json.value("steps", Json::array()), file.steps);  // the first version had none
    Read(json.value("guardrails", Json::array()), file.sums);
    return file;
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace skipstone::server
