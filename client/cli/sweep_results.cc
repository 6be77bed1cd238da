#include "client/cli/sweep_results.h"

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace skipstone::quality {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CalibrationBin, tokens, correct, confidence)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WindowSums, tokens, nll, brier, bins)

}  // namespace skipstone::quality

namespace skipstone::client {
namespace {

using Json = nlohmann::json;

// By SweepTask.
constexpr const char* kTaskNames[] = {"speed", "text", "choices", "last_words", "generation"};

template <size_t... i>
SweepResult ReadAs(size_t task, const Json& json, std::index_sequence<i...>) {
  SweepResult result;
  const auto read = [&](auto index) {
    result = json.get<std::variant_alternative_t<index, SweepResult>>();
  };
  (void)((task == i && (read(std::integral_constant<size_t, i>()), true)) || ...);
  return result;
}

}  // namespace

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SpeedResult, prefill_ms, decode_ms, prompt_tokens, output_tokens,
                                   kv_pages_used)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TextResult, sums, likeliest)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ChoicesResult, loglikelihood)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LastWordResult, logprob, greedy)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Continuation, ids, logprob, agrees)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GenerationResult, greedy, sampled)

Json ToJson(const SweepKey& key, const SweepResult& result) {
  Json json = {
      {"task", kTaskNames[static_cast<size_t>(key.task)]}, {"item", key.item}, {"skip", key.skip}};
  std::visit([&](const auto& value) { json["result"] = value; }, result);
  return json;
}

absl::StatusOr<std::pair<SweepKey, SweepResult>> SweepResultFromJson(const Json& json) {
  // Third-party code that throws.
  try {
    const auto name = json.at("task").get<std::string>();
    size_t task = 0;
    while (task < std::size(kTaskNames) && name != kTaskNames[task]) ++task;
    if (task == std::size(kTaskNames)) {
      return absl::InvalidArgumentError(absl::StrCat("there is no task \"", name, "\""));
    }
    const SweepKey key = {static_cast<SweepTask>(task), json.at("item").get<int>(),
                          json.at("skip").get<int>()};
    return std::pair(key, ReadAs(task, json.at("result"),
                                 std::make_index_sequence<std::variant_size_v<SweepResult>>()));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace skipstone::client
