// Every metric of a server, one row each:
//   kind(name, help), of kinds ..._BY then the label and its values, of histograms then the bounds
// makes the member `name` and, at /metrics, `skipstone_name`. tools/dashboard.py reads the rows,
// for the dashboard and for the tests of deploy/; a metric that no panel of its table shows has one
// made of its row.
//
// A label has few values, known at the start: each is another series, or another forty with a
// histogram, in every scrape and for ever. Hence neither tenant nor user nor request id is a label:
// clients make these up without end. Shares of tenants are bounded by the scheduler, and seen in
// the log.
#pragma once

#include <string>
#include <vector>

#include "engine/engine_observer.h"
#include "server/metric_bounds.h"
#include "server/metric_scope.h"

namespace skipstone::server {

template <typename Enum>
std::vector<std::string> NamesUpTo(Enum last) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(last); ++i) names.push_back(NameOf(static_cast<Enum>(i)));
  return names;
}

#define COUNTER(name, help) Counter& name = Add<Counter>(#name, help)
#define GAUGE(name, help) Gauge& name = Add<Gauge>(#name, help)
#define HISTOGRAM(name, help, bounds) \
  Histogram& name = Add<Histogram>(#name, help, BoundsOf(#name, bounds))
#define COUNTER_BY(name, help, label, ...) \
  ByLabel<Counter> name = AddBy(FamilyOf<Counter>(#name, help), label, __VA_ARGS__)
#define GAUGE_BY(name, help, label, ...) \
  ByLabel<Gauge> name = AddBy(FamilyOf<Gauge>(#name, help), label, __VA_ARGS__)
// ... each made at its first observation, since it is large.
#define HISTOGRAM_BY(name, help, label, bounds) \
  ByLabel<Histogram> name =                     \
      AddBy(FamilyOf<Histogram>(#name, help), label, {}, BoundsOf(#name, bounds))
// Always 1; its labels, which are known with the model, are what it says.
#define INFO(name, help) prometheus::Family<Gauge>& name = FamilyOf<Gauge>(#name, help)

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

// Of the server. Label: model_name.
struct ServerMetrics : MetricScope {
  using MetricScope::MetricScope;

  COUNTER(num_preemptions_total, "Sequences preempted");
  COUNTER(shed_attention_layers_total,
          "Attention layers that running sequences shed for want of pages");
  COUNTER(shed_pages_total, "K/V pages that this freed");
  COUNTER(prefix_cache_queries_total, "Prompt tokens looked up");
  COUNTER(prefix_cache_hits_total, "Prompt tokens found in the cache");
  COUNTER(rows_eliminated_total,
          "(row, sublayer) pairs that requests keep and liveness did not compute");
  COUNTER(shadow_attributed_seconds_total, "Shadows' share of the steps' time, by work");
  COUNTER_BY(guardrail_trips_total, "Arms turned off here because they broke a limit", "arm", {});
  GAUGE(config_generation, "Which reading of the configuration is served, from 1");
  COUNTER(config_reload_failures_total, "Changed configurations that were refused");
  COUNTER(log_lines_dropped_total, "Log lines dropped because nobody read them");
  COUNTER_BY(exposure_records_total,
             "Lines of the exposure log; dropped: the volume was too slow, failed: it took none",
             "state", {"written", "dropped", "failed"});
  COUNTER_BY(experiment_unassigned_total,
             "Times that an experiment gave a request no arm, by reason", "reason",
             {"disabled", "excluded", "unit_missing", "unknown_arm"});
  COUNTER_BY(api_key_refusals_total, "Calls refused for their key, or what it has left, by reason",
             "reason", {"missing", "unknown", "expired", "quota"});
  COUNTER(refused_connections_total, "Connections above --max_connections");
  GAUGE(output_queue_events, "Results of steps that their streams have not been handed yet");
  GAUGE(num_requests_running, "Sequences that run");
  GAUGE(num_requests_waiting, "Sequences that wait");
  GAUGE(num_waiting_prompt_tokens, "Prompt tokens that wait");
  GAUGE(kv_cache_usage_perc, "Used share of the K/V pages, 0 to 1");
  GAUGE_BY(kv_pages, "K/V pages by state", "state", {"free", "used", "cached"});
  GAUGE_BY(backend_memory_bytes, "Memory of the backend, on the device if there is one, by use",
           "use", {"weights", "kv_pages", "buffers"});
  GAUGE_BY(level_quality_kl_nats, "Calibrated KL of a level per token; absent: unknown", "level",
           {});
  GAUGE_BY(experiment_arm_enabled, "1: it is on; 0: a guardrail has turned it off", "arm", {});
  GAUGE_BY(experiment_ramp_step, "Step of an experiment's ramp, from 0", "experiment", {});
  GAUGE(recorded_steps, "CUDA graphs of decode steps");
  GAUGE(open_fds, "Open descriptors of the process");
  GAUGE(max_fds, "Descriptors that it may open");
  GAUGE_BY(tls_certificate_end_seconds,
           "When the server's certificate ends, Unix time; 0: none can be read", "file", {});
  GAUGE(open_connections, "Connections to the gRPC port");
  INFO(build_info, "What was built; always 1");
  INFO(cache_config_info, "K/V page size and capacity; always 1");
  HISTOGRAM(step_duration_seconds, "One step of the engine, launch to results", kStepSeconds);
  HISTOGRAM(step_rows, "Tokens that one step ran", kRows);
};

#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef COUNTER_BY
#undef GAUGE_BY
#undef HISTOGRAM_BY
#undef INFO

}  // namespace skipstone::server
