#include "server/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace skipstone::server {
namespace {

std::vector<std::string> HistogramNames() {
  prometheus::Registry registry;
  const Buckets none;
  std::vector<std::string> names = RequestHistograms(registry, none, {}).histogram_names();
  const ServerMetrics server(registry, none, {});
  for (const std::string& name : server.histogram_names()) names.push_back(name);
  return names;
}

// Of the i-th generated token: what skipping costs may grow with the output.
const char* PositionOf(size_t i) {
  return i < 16 ? "1-16" : i < 64 ? "17-64" : i < 256 ? "65-256" : "257-";
}

}  // namespace

struct Metrics::Series : public RequestObserver {
  Series(prometheus::Registry& registry, const Buckets& buckets, const prometheus::Labels& labels)
      : counters(registry, buckets, labels), histograms(registry, buckets, labels) {}

  void OnFirstToken(Duration ttft) override {
    histograms.time_to_first_token_seconds.Observe(Seconds(ttft));
  }

  void OnInterTokenLatency(Duration itl) override {
    histograms.inter_token_latency_seconds.Observe(Seconds(itl));
    counters.generation_tokens_total.Increment();
  }

  void OnOutputFinished(const OutputFinished& finished) override {
    counters.request_success_total(NameOf(finished.reason)).Increment();
  }

  void OnRequestDone(const RequestObservation& request) override {
    RequestHistograms& h = histograms;
    const std::string outcome = NameOf(request.outcome);
    const RequestTiming& timing = request.timing;
    CountEnd(outcome, timing.e2e);
    counters.prompt_tokens_total.Increment(request.prompt_tokens);
    // The others were counted as they came.
    counters.generation_tokens_total.Increment(request.outputs);
    counters.kv_pages_windowed_total.Increment(request.kv_pages_windowed);
    counters.kv_pages_omitted_total.Increment(request.kv_pages_omitted);
    if (request.browned_out) counters.brownouts_total.Increment();
    h.request_prompt_tokens.Observe(request.prompt_tokens);
    h.request_generation_tokens.Observe(request.completion_tokens);
    // One that ended in the queue waited there all its time.
    h.request_queue_time_seconds(outcome).Observe(
        Seconds(request.scheduled ? timing.queue : timing.e2e));
    if (request.scheduled) h.request_attributed_time_seconds.Observe(Seconds(timing.attributed));
    if (request.first_token) {
      h.request_prefill_time_seconds.Observe(Seconds(timing.prefill));
      h.request_decode_time_seconds.Observe(Seconds(timing.decode));
      if (const auto mean =
              MeanInterTokenLatency(timing.decode, request.completion_tokens, request.outputs)) {
        h.request_time_per_output_token_seconds(outcome).Observe(Seconds(*mean));
      }
    }
  }

  void Count(const ShadowResult& shadow) {
    int agrees = 0;
    const char* position = nullptr;
    prometheus::Histogram* kl = nullptr;  // looked up once a position, not a token
    for (size_t i = 0; i < shadow.tokens.size(); ++i) {
      if (PositionOf(i) != position) kl = &histograms.shadow_kl_nats(position = PositionOf(i));
      kl->Observe(shadow.tokens[i].kl);
      agrees += shadow.tokens[i].agrees;
    }
    histograms.shadow_agreement_ratio.Observe(1.0 * agrees / shadow.tokens.size());
    counters.shadow_tokens_total.Increment(shadow.tokens.size());
  }

  void CountEnd(const std::string& outcome, Duration e2e) {
    counters.requests_total(outcome).Increment();
    histograms.e2e_request_latency_seconds(outcome).Observe(Seconds(e2e));
  }

  RequestCounters counters;
  RequestHistograms histograms;
};

Metrics::Metrics(const std::string& model_name, const Buckets& buckets)
    : model_name_(model_name),
      buckets_(buckets),
      server_(registry_, buckets_, {{"model_name", model_name}}) {}

Metrics::~Metrics() = default;

absl::Status Metrics::CheckBuckets(const Buckets& buckets) {
  const std::vector<std::string> names = HistogramNames();
  for (const auto& [name, bounds] : buckets) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return absl::InvalidArgumentError(absl::StrFormat("buckets: no histogram '%s'; there are: %s",
                                                        name, absl::StrJoin(names, ", ")));
    }
    if (bounds.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("buckets.%s: no bounds", name));
    }
  }
  return absl::OkStatus();
}

void Metrics::SetInfo(const std::string& version, const std::string& backend, int page_tokens,
                      int64_t pages_per_layer) {
  server_.build_info.Add({{"model_name", model_name_}, {"version", version}, {"backend", backend}})
      .Set(1);
  server_.cache_config_info
      .Add({{"model_name", model_name_},
            {"block_size", absl::StrFormat("%d", page_tokens)},
            {"num_gpu_blocks", absl::StrFormat("%d", pages_per_layer)}})
      .Set(1);
}

prometheus::Labels Metrics::LabelsOf(const RequestLabels& labels) const {
  return {{"model_name", model_name_}, {"skip_level", labels.level}, {"arm", labels.arm}};
}

void Metrics::Expect(const std::vector<RequestLabels>& labels) {
  for (const RequestLabels& each : labels) RequestCounters(registry_, buckets_, LabelsOf(each));
}

Metrics::Series& Metrics::SeriesOf(const RequestLabels& labels) {
  MutexLock lock(mutex_);
  std::unique_ptr<Series>& series = series_[{labels.level, labels.arm}];
  if (!series) series = std::make_unique<Series>(registry_, buckets_, LabelsOf(labels));
  return *series;
}

RequestObserver& Metrics::Of(const RequestLabels& labels) { return SeriesOf(labels); }

void Metrics::OnRejected(const RequestLabels& labels, Duration e2e, Outcome outcome) {
  SeriesOf(labels).CountEnd(NameOf(outcome), e2e);
}

void Metrics::OnShadow(const RequestLabels& labels, const ShadowResult& shadow) {
  SeriesOf(labels).Count(shadow);
}

void Metrics::OnShadowDropped(const RequestLabels& labels, const char* reason) {
  SeriesOf(labels).counters.shadow_dropped_total(reason).Increment();
}

void Metrics::OnShadowTime(Duration attributed) {
  server_.shadow_attributed_seconds_total.Increment(Seconds(attributed));
}

void Metrics::OnStep(const StepObservation& step) {
  server_.step_duration_seconds.Observe(Seconds(step.duration));
  server_.step_rows.Observe(step.rows);
  server_.rows_eliminated_total.Increment(step.rows_eliminated);
  server_.num_preemptions_total.Increment(step.preemptions);
  server_.shed_attention_layers_total.Increment(step.shed_layers);
  server_.shed_pages_total.Increment(step.shed_pages);
  server_.prefix_cache_queries_total.Increment(step.prefix_query_tokens);
  server_.prefix_cache_hits_total.Increment(step.prefix_hit_tokens);
}

void Metrics::OnLoad(const EngineLoad& load) {
  const BackendUsage& backend = load.backend;
  server_.saturation.Set(load.saturation);
  server_.shed_level.Set(load.shed_level);
  server_.num_requests_running.Set(load.running);
  server_.num_requests_waiting.Set(load.waiting);
  server_.num_waiting_prompt_tokens.Set(load.waiting_tokens);
  server_.kv_pages("free").Set(load.pages.free());
  server_.kv_pages("used").Set(load.pages.used);
  server_.kv_pages("cached").Set(load.pages.cached);
  server_.kv_cache_usage_perc.Set(1.0 * load.pages.used / std::max<int64_t>(1, load.pages.total));
  server_.backend_memory_bytes("weights").Set(backend.weight_bytes);
  server_.backend_memory_bytes("kv_pages").Set(backend.page_bytes);
  server_.backend_memory_bytes("buffers").Set(backend.buffer_bytes);
  server_.recorded_steps.Set(backend.recorded_steps);
}

void Metrics::OnOutputQueue(int64_t change) { server_.output_queue_events.Increment(change); }

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace skipstone::server
