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
#include "server/metric_scope.h"

namespace skipstone::server {

// Supersets of the bounds that other LLM servers use, so that their dashboards keep working, with
// finer ones below: a 7B model on a current GPU lies under their first bound.
inline constexpr double kTokenSeconds[] = {
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15,
    0.2,   0.3,    0.4,   0.5,    0.75, 1.0,   2.5,  5.0,   7.5,  10.0, 20.0, 40.0,  80.0};
inline constexpr double kFirstTokenSeconds[] = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08,
                                                0.1,   0.25,   0.5,   0.75, 1.0,  2.5,  5.0,  7.5,
                                                10.0,  20.0,   40.0,  80.0, 160., 640., 2560.};
inline constexpr double kRequestSeconds[] = {
    0.005, 0.01, 0.025, 0.05, 0.1,  0.2,  0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,   5.0,
    10.0,  15.0, 20.0,  30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
inline constexpr double kTokens[] = {1,   2,    5,    10,   20,    50,    100,   200,
                                     500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
inline constexpr double kStepSeconds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                          0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                          1.0,    2.5,     5.0,    10.0};
inline constexpr double kRows[] = {1,   2,   4,   8,   16,   32,   48,   64,  96,
                                   128, 192, 256, 512, 1024, 2048, 4096, 8192};

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
  COUNTER(log_lines_dropped_total, "Log lines dropped because nobody read them");
  COUNTER_BY(exposure_records_total,
             "Lines of the exposure log; dropped: the volume was too slow, failed: it took none",
             "state", {"written", "dropped", "failed"});
  COUNTER_BY(experiment_unassigned_total,
             "Times that an experiment met a request and gave it no arm, by reason", "reason",
             {"disabled", "excluded", "unit_missing", "unknown_arm"});
  COUNTER(refused_connections_total, "Connections above --max_connections");
  GAUGE(output_queue_events, "Results of steps that their streams have not been handed yet");
  GAUGE(num_requests_running, "Sequences that run");
  GAUGE(num_requests_waiting, "Sequences that wait");
  GAUGE(num_waiting_prompt_tokens, "Prompt tokens that wait");
  GAUGE(kv_cache_usage_perc, "Used share of the K/V pages, 0 to 1");
  GAUGE_BY(kv_pages, "K/V pages by state", "state", {"free", "used", "cached"});
  GAUGE_BY(backend_memory_bytes, "Memory of the backend, on the device if there is one, by use",
           "use", {"weights", "kv_pages", "buffers"});
  GAUGE_BY(level_quality_kl_nats,
           "KL of a level to the full model per token, as it was calibrated; absent: unknown",
           "level", {});
  GAUGE(recorded_steps, "CUDA graphs of decode steps");
  GAUGE(open_fds, "Open descriptors of the process");
  GAUGE(max_fds, "Descriptors that it may open");
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
