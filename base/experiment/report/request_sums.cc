#include "base/experiment/report/request_sums.h"

namespace skipstone::experiment {

bool IsFailure(std::string_view outcome) {
  return outcome == "error" || outcome == "rejected" || outcome == "deadline";
}

WindowSums SumsOf(const ExposureRecord& record) {
  WindowSums sums = {};
  sums[kRequests] = 1;
  sums[kFailures] = IsFailure(record.outcome) ? 1 : 0;
  sums[kAttributedS] = record.attributed_s;
  sums[kTokens] = static_cast<double>(record.prompt_tokens + record.generated_tokens);
  sums[kGeneratedTokens] = static_cast<double>(record.generated_tokens);
  sums[kPages] = static_cast<double>(record.kv_pages_used);
  if (record.shadow) {
    const quality::WindowSums& shadow = record.shadow->sums;
    sums[kShadowTokens] = static_cast<double>(shadow.tokens);
    sums[kKlNats] = shadow.kl;
    sums[kAgreeingTokens] = static_cast<double>(shadow.agrees);
    sums[kLogprobNats] = record.shadow->logprob_difference;
    sums[kBrier] = shadow.brier;
  }
  sums[kE2eS] = record.e2e_s;
  if (record.ttft_s) {
    sums[kTtftS] = *record.ttft_s;
    sums[kTtftRequests] = 1;
  }
  if (record.itl_mean_s) {
    sums[kItlS] = *record.itl_mean_s;
    sums[kItlRequests] = 1;
  }
  return sums;
}

}  // namespace skipstone::experiment
