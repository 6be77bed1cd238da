// The metrics of a server as a whole.
#pragma once

#include "server/metric_bounds.h"
#include "server/metric_rows.h"

namespace skipstone::server {

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
  COUNTER_BY(tenant_prompt_tokens_total, "Prompt tokens of a tenant's ended requests", "tenant",
             {});
  COUNTER_BY(tenant_generation_tokens_total, "Tokens generated for a tenant", "tenant", {});
  COUNTER_BY(tenant_attributed_seconds_total,
             "A tenant's share of the steps' time, by work",
             "tenant", {});
  COUNTER_BY(tenant_kv_page_seconds_total,
             "K/V pages that a tenant's sequences held, times seconds", "tenant", {});
  GAUGE(saturation,
        "How full the server is, 0 to 1: the most of queue, pages, sequences and step time");
  GAUGE(shed_level, "What load takes away of the full attention that requests chose, 0 to 1");
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

}  // namespace skipstone::server
