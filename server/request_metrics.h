// The metrics of requests.
#pragma once

#include "engine/engine_observer.h"
#include "server/metric_bounds.h"
#include "server/metric_rows.h"

namespace skipstone::server {

// Of the requests with one level and arm. Labels: model_name, skip_level, arm.
struct RequestCounters : MetricScope {
  using MetricScope::MetricScope;

  COUNTER_BY(requests_total, "Requests that ended, by outcome", "outcome",
             NamesUpTo(Outcome::kError));
  COUNTER_BY(request_success_total, "Outputs that finished, by reason", "finished_reason",
             NamesUpTo(FinishReason::kAborted));
  COUNTER(prompt_tokens_total, "Prompt tokens of ended requests");
  COUNTER(generation_tokens_total, "Tokens generated");
  COUNTER(kv_pages_windowed_total, "K/V pages that had left the windows of attention layers");
  COUNTER(kv_pages_omitted_total, "K/V pages that skipped attention layers did not need");
  COUNTER(shadow_tokens_total, "Served tokens that were scored once more beside the full model");
  COUNTER_BY(shadow_dropped_total,
             "Requests that were to be scored once more and were not: others needed the device, or "
             "load had enlarged the set",
             "reason", {"load", "enlarged"});
  COUNTER(brownouts_total, "Requests that started at their ceiling because of the load");
};

// ... and their times and lengths, from the first such request on.
struct RequestHistograms : MetricScope {
  using MetricScope::MetricScope;

  HISTOGRAM(time_to_first_token_seconds, "Arrival to first token handed to the transport",
            kFirstTokenSeconds);
  HISTOGRAM(inter_token_latency_seconds, "Time between consecutive tokens of an output",
            kTokenSeconds);
  HISTOGRAM_BY(request_time_per_output_token_seconds, "Decode time over tokens after the first",
               "outcome", kTokenSeconds);
  HISTOGRAM_BY(e2e_request_latency_seconds, "Arrival to final status", "outcome", kRequestSeconds);
  HISTOGRAM_BY(request_queue_time_seconds, "Arrival to first scheduled", "outcome",
               kRequestSeconds);
  HISTOGRAM(request_prefill_time_seconds, "First scheduled to first token", kRequestSeconds);
  HISTOGRAM(request_decode_time_seconds, "First token to last token", kRequestSeconds);
  HISTOGRAM(request_attributed_time_seconds, "A request's share of its steps, by work",
            kRequestSeconds);
  HISTOGRAM_BY(shadow_kl_nats,
               "KL of a served token's distribution from the full model's, by its place in the "
               "output",
               "position", kNats);
  HISTOGRAM(shadow_agreement_ratio,
            "Share of an output's tokens whose likeliest token is the full model's", kShares);
  HISTOGRAM(request_prompt_tokens, "Prompt tokens of a request", kTokens);
  HISTOGRAM(request_generation_tokens, "Tokens generated for a request, over its outputs", kTokens);
};

}  // namespace skipstone::server
