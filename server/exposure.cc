#include "server/exposure.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"

namespace skipstone::server {

std::optional<std::string> TraceParentOf(const std::optional<std::string>& text) {
  // VERSION-TRACE-PARENT-FLAGS; later versions may have more behind it.
  constexpr std::string_view kForm = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
  if (!text || text->size() < kForm.size()) return std::nullopt;
  const std::string parent = text->substr(0, kForm.size());
  const auto fits = [](char c, char form) {
    return form == '-' ? c == '-' : absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
  };
  if (!std::equal(parent.begin(), parent.end(), kForm.begin(), fits)) return std::nullopt;
  // What the standard calls invalid: the last version, and ids of zeros.
  const auto zeros = [&](size_t at, size_t size) {
    return parent.find_first_not_of('0', at) >= at + size;
  };
  if (parent.starts_with("ff") || zeros(3, 32) || zeros(36, 16)) return std::nullopt;
  return parent;
}

experiment::ExposureRecord BeginExposure(const Assignment& assignment, const Level& level,
                                         std::chrono::system_clock::time_point now) {
  experiment::ExposureRecord record;
  record.time_unix_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  record.exposures = assignment.exposures;
  record.level = level.name;
  record.skip_id = {level.skip.id()};
  if (level.skip.HasMaps()) record.compensation = experiment::Hash{level.skip.maps_hash()};
  return record;
}

bool TakesExposures(const Serving& serving) {
  return serving.exposure_log != nullptr || serving.live.current()->guardrails != nullptr;
}

void TakeExposure(experiment::ExposureRecord record, const Serving& serving) {
  const auto live = serving.live.current();
  if (live->guardrails) live->guardrails->Take(record);
  if (serving.exposure_log != nullptr) serving.exposure_log->Write(std::move(record));
}

experiment::ShadowResult ShadowOf(const ShadowResult& shadow) {
  const quality::WindowSums sums = quality::SumOf(shadow.tokens);
  return {.sums = sums, .logprob_difference = sums.nll - shadow.full_nll};
}

void EndExposure(const RequestTotals& totals, experiment::ExposureRecord& record) {
  const RequestTiming& timing = totals.timing;
  record.outcome = NameOf(totals.outcome);
  record.queue_s = Seconds(timing.queue);
  record.e2e_s = Seconds(timing.e2e);
  record.attributed_s = Seconds(timing.attributed);
  if (totals.first_token) {
    record.ttft_s = Seconds(timing.ttft);
    const auto itl = MeanInterTokenLatency(timing.decode, totals.completion_tokens, totals.outputs);
    if (itl) record.itl_mean_s = Seconds(*itl);
  }
  record.prompt_tokens = totals.prompt_tokens;
  record.generated_tokens = totals.completion_tokens;
  record.kv_pages_used = totals.kv_pages_used;
  record.kv_pages_omitted = totals.kv_pages_omitted;
  const double end = static_cast<double>(record.time_unix_ms) * 1e-3 + record.e2e_s;
  for (experiment::Exposure& exposure : record.exposures) {
    if (!exposure.window) continue;
    const auto ended = static_cast<int64_t>(std::floor(end / exposure.window->seconds));
    exposure.window->ended_index = std::max(exposure.window->index, ended);
  }
}

}  // namespace skipstone::server
