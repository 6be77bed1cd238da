// Exposure records of a planted truth, for tests of reports.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/experiment/exposure_record.h"
#include "base/hash.h"

namespace skipstone::experiment {

// Uniform in (0, 1), by counter.
inline double Uniform(uint64_t counter) {
  return (static_cast<double>(Mix64(counter) >> 12) + 0.5) * 0x1.0p-52;
}

// Standard normal (Box and Muller).
inline double Normal(uint64_t counter) {
  return std::sqrt(-2 * std::log(Uniform(2 * counter))) *
         std::cos(2 * M_PI * Uniform(2 * counter + 1));
}

// A request of `unit` in `arm` of a mixed experiment of two equal arms.
inline ExposureRecord MixedRecord(int64_t request, uint64_t unit, const std::string& arm) {
  ExposureRecord record = {.time_unix_ms = 1'790'000'000'000 + 1000 * request,
                           .request_id = absl::StrCat("request-", request),
                           .level = arm == "control" ? "full" : "attn-33",
                           .outcome = "ok"};
  Exposure exposure = {.experiment = "attn-skip-1", .layer = "default", .arm = arm, .share = 0.5};
  exposure.generation = {0x5eed};
  exposure.unit = Hash{unit};
  record.exposures = {exposure};
  record.e2e_s = 1;
  record.ttft_s = 0.1;
  record.itl_mean_s = 0.02;
  record.prompt_tokens = 100;
  record.generated_tokens = 50;
  record.attributed_s = 0.3;
  record.kv_pages_used = 32;
  return record;
}

// A shadow of 50 tokens.
inline ShadowResult Shadow(double kl_per_token, int64_t agreeing_tokens) {
  ShadowResult shadow;
  shadow.sums.tokens = 50;
  shadow.sums.kl = 50 * kl_per_token;
  shadow.sums.agrees = agreeing_tokens;
  shadow.sums.brier = 5;
  shadow.sums.bins[14] = {.tokens = 50, .correct = 40, .confidence = 48};
  shadow.logprob_difference = kl_per_token;
  return shadow;
}

// Planted: treatment costs 10 % less time, has 20 of 32 pages, a KL of 0.05 nats per token and
// agrees at 45 of 50 tokens; full is exactly itself. Four requests a unit, units differ by 30 %.
inline std::vector<ExposureRecord> PlantedLog(int64_t requests, uint64_t seed = 1) {
  std::vector<ExposureRecord> log;
  for (int64_t i = 0; i < requests; ++i) {
    const uint64_t unit = Mix64(seed + static_cast<uint64_t>(i) / 4);
    const bool is_treated = unit % 2 == 1;
    ExposureRecord record = MixedRecord(i, unit, is_treated ? "treatment" : "control");
    const double noise = std::exp(0.3 * Normal(unit) + 0.1 * Normal(seed * 1000 + i));
    record.attributed_s = 0.3 * noise * (is_treated ? 0.9 : 1);
    if (is_treated) record.kv_pages_used = 20;
    record.shadow = Shadow(0, 50);
    if (is_treated) record.shadow = Shadow(0.05 * std::exp(0.2 * Normal(seed + 7 * i)), 45);
    log.push_back(std::move(record));
  }
  return log;
}

// A request in a window of a switchback of two arms, two windows each a block. A window whose time
// no clock shows is one of a broken log.
inline ExposureRecord WindowRecord(int64_t request, int64_t window, const std::string& arm) {
  ExposureRecord record = MixedRecord(request, 0, arm);
  const int64_t minutes = std::min(window, int64_t{1} << 40);
  record.time_unix_ms = 1'790'000'000'000 + 60'000 * minutes + request % 60'000;
  Exposure& exposure = record.exposures[0];
  exposure.design = Design::kSwitchback;
  exposure.unit = std::nullopt;
  exposure.window =
      ExposureWindow{.index = window, .ended_index = window, .block = window / 4, .seconds = 60};
  return record;
}

}  // namespace skipstone::experiment
