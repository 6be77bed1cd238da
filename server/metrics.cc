#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;

struct HistogramSpec {
  const char* name;
  const char* help;
  std::vector<double> bounds;
};

// Supersets of the bounds that other LLM servers use, so that their dashboards keep working, with
// finer ones below: a 7B model on a current GPU lies under their first bound.
const std::vector<double> kTokenSeconds = {
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15,
    0.2,   0.3,    0.4,   0.5,    0.75, 1.0,   2.5,  5.0,   7.5,  10.0, 20.0, 40.0,  80.0};
const std::vector<double> kFirstTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08,
                                                0.1,   0.25,   0.5,   0.75, 1.0,  2.5,  5.0,  7.5,
                                                10.0,  20.0,   40.0,  80.0, 160., 640., 2560.};
const std::vector<double> kRequestSeconds = {
    0.005, 0.01, 0.025, 0.05, 0.1,  0.2,  0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,   5.0,
    10.0,  15.0, 20.0,  30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
const std::vector<double> kTokens = {1,   2,    5,    10,   20,    50,    100,   200,
                                     500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
const std::vector<double> kStepSeconds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                          0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                          1.0,    2.5,     5.0,    10.0};
const std::vector<double> kRows = {1,   2,   4,   8,   16,   32,   48,   64,  96,
                                   128, 192, 256, 512, 1024, 2048, 4096, 8192};

enum HistogramIndex {
  kTtft,
  kItl,
  kTpot,
  kE2e,
  kQueue,
  kPrefill,
  kDecode,
  kAttributed,
  kPromptTokens,
  kGenerationTokens,
  kStepDuration,
  kStepRows,
  kHistograms
};

const std::vector<HistogramSpec>& HistogramSpecs() {
  static const auto* const specs = new std::vector<HistogramSpec>{
      {"time_to_first_token_seconds", "Arrival to first token handed to the transport",
       kFirstTokenSeconds},
      {"inter_token_latency_seconds", "Time between consecutive tokens of an output",
       kTokenSeconds},
      {"request_time_per_output_token_seconds", "Decode time over tokens after the first",
       kTokenSeconds},
      {"e2e_request_latency_seconds", "Arrival to final status", kRequestSeconds},
      {"request_queue_time_seconds", "Arrival to first scheduled", kRequestSeconds},
      {"request_prefill_time_seconds", "First scheduled to first token", kRequestSeconds},
      {"request_decode_time_seconds", "First token to last token", kRequestSeconds},
      {"request_attributed_time_seconds", "A request's share of its steps, by work",
       kRequestSeconds},
      {"request_prompt_tokens", "Prompt tokens of a request", kTokens},
      {"request_generation_tokens", "Tokens generated for a request, over its outputs", kTokens},
      {"step_duration_seconds", "One step of the engine, launch to results", kStepSeconds},
      {"step_rows", "Tokens that one step ran", kRows}};
  return *specs;
}

constexpr int kOutcomes = static_cast<int>(Outcome::kError) + 1;
constexpr int kReasons = static_cast<int>(FinishReason::kAborted) + 1;

// Brings what is counted elsewhere up to date when it is asked for.
class ScrapedRegistry : public prometheus::Registry {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    {
      MutexLock lock(mutex_);
      dropped_->Increment(static_cast<double>(DroppedLogLines()) - dropped_->Value());
    }
    return Registry::Collect();
  }
  void set_dropped(Counter& counter) { dropped_ = &counter; }

 private:
  mutable Mutex mutex_;
  Counter* dropped_ = nullptr;
};

Family<Counter>& CounterFamily(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter()
      .Name(std::string("skipstone_") + name)
      .Help(help)
      .Register(registry);
}

Family<Gauge>& GaugeFamily(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge()
      .Name(std::string("skipstone_") + name)
      .Help(help)
      .Register(registry);
}

}  // namespace

struct Metrics::Families {
  Families(ScrapedRegistry& r, const std::string& model_name, const Buckets& buckets)
      : model({{"model_name", model_name}}) {
    for (const HistogramSpec& spec : HistogramSpecs()) {
      histograms.push_back(&prometheus::BuildHistogram()
                                .Name(std::string("skipstone_") + spec.name)
                                .Help(spec.help)
                                .Register(r));
      const auto own = buckets.find(spec.name);
      bounds.push_back(own == buckets.end() ? spec.bounds : own->second);
    }
    requests = &CounterFamily(r, "requests_total", "Requests that ended, by outcome");
    success = &CounterFamily(r, "request_success_total", "Outputs that finished, by reason");
    prompt_tokens = &CounterFamily(r, "prompt_tokens_total", "Prompt tokens of ended requests");
    generation_tokens = &CounterFamily(r, "generation_tokens_total", "Tokens generated");
    omitted = &CounterFamily(r, "kv_pages_omitted_total",
                             "K/V pages that skipped attention layers did not need");
    brownouts = &CounterFamily(r, "brownouts_total",
                               "Requests that started at their ceiling because of the load");
    preemptions = &CounterFamily(r, "num_preemptions_total", "Sequences preempted").Add(model);
    shed_layers = &CounterFamily(r, "shed_attention_layers_total",
                                 "Attention layers that running sequences shed for want of pages")
                       .Add(model);
    shed_pages = &CounterFamily(r, "shed_pages_total", "K/V pages that this freed").Add(model);
    prefix_queries =
        &CounterFamily(r, "prefix_cache_queries_total", "Prompt tokens looked up").Add(model);
    prefix_hits =
        &CounterFamily(r, "prefix_cache_hits_total", "Prompt tokens found in the cache").Add(model);
    rows_eliminated =
        &CounterFamily(r, "rows_eliminated_total",
                       "(row, sublayer) pairs that requests keep and liveness did not compute")
             .Add(model);
    r.set_dropped(
        CounterFamily(r, "log_lines_dropped_total", "Log lines dropped because nobody read them")
            .Add(model));
    output_queue = &GaugeFamily(r, "output_queue_events",
                                "Results of steps that their streams have not been handed yet")
                        .Add(model);
    running = &GaugeFamily(r, "num_requests_running", "Sequences that run").Add(model);
    waiting = &GaugeFamily(r, "num_requests_waiting", "Sequences that wait").Add(model);
    waiting_tokens =
        &GaugeFamily(r, "num_waiting_prompt_tokens", "Prompt tokens that wait").Add(model);
    usage =
        &GaugeFamily(r, "kv_cache_usage_perc", "Used share of the K/V pages, 0 to 1").Add(model);
    Family<Gauge>& pages = GaugeFamily(r, "kv_pages", "K/V pages by state");
    for (auto& [state, gauge] : {std::pair{"free", &free_pages}, std::pair{"used", &used_pages},
                                 std::pair{"cached", &cached_pages}}) {
      *gauge = &pages.Add({{"model_name", model_name}, {"state", state}});
    }
    Family<Gauge>& memory = GaugeFamily(
        r, "backend_memory_bytes", "Memory of the backend, on the device if there is one, by use");
    for (auto& [use, gauge] :
         {std::pair{"weights", &weight_bytes}, std::pair{"kv_pages", &page_bytes},
          std::pair{"buffers", &buffer_bytes}}) {
      *gauge = &memory.Add({{"model_name", model_name}, {"use", use}});
    }
    recorded_steps = &GaugeFamily(r, "recorded_steps", "CUDA graphs of decode steps").Add(model);
    open_fds = &GaugeFamily(r, "open_fds", "Open descriptors of the process").Add(model);
    max_fds = &GaugeFamily(r, "max_fds", "Descriptors that it may open").Add(model);
    connections = &GaugeFamily(r, "open_connections", "Connections to the gRPC port").Add(model);
    refused_connections =
        &CounterFamily(r, "refused_connections_total", "Connections above --max_connections")
             .Add(model);
    build_info = &GaugeFamily(r, "build_info", "What was built; always 1");
    cache_config = &GaugeFamily(r, "cache_config_info", "K/V page size and capacity; always 1");
    step_duration = &Add(kStepDuration, model);
    step_rows = &Add(kStepRows, model);
  }

  Histogram& Add(HistogramIndex index, const Labels& labels) {
    return histograms[index]->Add(labels, bounds[index]);
  }

  const Labels model;
  std::vector<Family<Histogram>*> histograms;
  std::vector<std::vector<double>> bounds;
  Family<Counter>*requests, *success, *prompt_tokens, *generation_tokens, *omitted, *brownouts;
  Counter *preemptions, *shed_layers, *shed_pages, *prefix_queries, *prefix_hits, *rows_eliminated;
  Gauge *running, *waiting, *waiting_tokens, *usage, *free_pages, *used_pages, *cached_pages;
  Gauge *weight_bytes, *page_bytes, *buffer_bytes, *recorded_steps, *output_queue;
  Gauge *open_fds, *max_fds, *connections;
  Counter* refused_connections;
  Family<Gauge>*build_info, *cache_config;
  Histogram *step_duration, *step_rows;
};

namespace {

Labels With(Labels labels, const std::string& key, const std::string& value) {
  labels.emplace(key, value);
  return labels;
}

}  // namespace

// What counts the requests of one pair of labels.
struct Metrics::Counters {
  Counters(Families& f, const Labels& labels)
      : prompt_tokens(f.prompt_tokens->Add(labels)),
        generation_tokens(f.generation_tokens->Add(labels)),
        omitted(f.omitted->Add(labels)),
        brownouts(f.brownouts->Add(labels)) {
    for (int i = 0; i < kOutcomes; ++i) {
      requests[i] = &f.requests->Add(With(labels, "outcome", NameOf(static_cast<Outcome>(i))));
    }
    for (int i = 0; i < kReasons; ++i) {
      success[i] =
          &f.success->Add(With(labels, "finished_reason", NameOf(static_cast<FinishReason>(i))));
    }
  }
  void Count(Outcome outcome) { requests[static_cast<int>(outcome)]->Increment(); }

  Counter &prompt_tokens, &generation_tokens, &omitted, &brownouts;
  Counter* requests[kOutcomes];
  Counter* success[kReasons];
};

struct Metrics::Series : public RequestObserver {
  Series(Families& families, Labels own)
      : f(families), labels(std::move(own)), counters(families, labels) {
    for (int h = 0; h < kStepDuration; ++h) {
      const bool by_outcome = h == kTpot || h == kE2e || h == kQueue;
      if (!by_outcome) histograms[h] = &f.Add(static_cast<HistogramIndex>(h), labels);
    }
  }

  void ObserveByOutcome(HistogramIndex index, const std::string& outcome, Duration time) {
    f.Add(index, With(labels, "outcome", outcome)).Observe(Seconds(time));
  }

  void OnFirstToken(Duration ttft) override;
  void OnInterTokenLatency(Duration itl) override;
  void OnOutputFinished(const OutputFinished& finished) override;
  void OnRequestDone(const RequestObservation& request) override;

  Families& f;
  const Labels labels;
  Histogram* histograms[kHistograms] = {};
  Counters counters;
};

Metrics::Metrics(const std::string& model_name, const Buckets& buckets)
    : model_name_(model_name),
      registry_(std::make_shared<ScrapedRegistry>()),
      families_(std::make_unique<Families>(static_cast<ScrapedRegistry&>(*registry_), model_name,
                                           buckets)) {}

Metrics::~Metrics() = default;

absl::Status Metrics::CheckBuckets(const Buckets& buckets) {
  for (const auto& [name, bounds] : buckets) {
    std::string known;
    for (const HistogramSpec& spec : HistogramSpecs()) {
      known += (known.empty() ? "" : ", ") + std::string(spec.name);
    }
    const auto& specs = HistogramSpecs();
    if (std::none_of(specs.begin(), specs.end(), [&](const auto& s) { return name == s.name; })) {
      return absl::InvalidArgumentError(
          absl::StrFormat("buckets: no histogram '%s'; there are: %s", name, known));
    }
    if (bounds.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("buckets.%s: no bounds", name));
    }
  }
  return absl::OkStatus();
}

void Metrics::SetInfo(const std::string& version, const std::string& backend, int page_tokens,
                      int64_t pages_per_layer) {
  families_->build_info
      ->Add({{"model_name", model_name_}, {"version", version}, {"backend", backend}})
      .Set(1);
  families_->cache_config
      ->Add({{"model_name", model_name_},
             {"block_size", absl::StrFormat("%d", page_tokens)},
             {"num_gpu_blocks", absl::StrFormat("%d", pages_per_layer)}})
      .Set(1);
}

void Metrics::SetConnections(const ConnectionObservation& connections) {
  families_->open_fds->Set(static_cast<double>(connections.open_fds));
  families_->max_fds->Set(static_cast<double>(connections.max_fds));
  families_->connections->Set(static_cast<double>(connections.open));
  families_->refused_connections->Increment(static_cast<double>(connections.refused) -
                                            families_->refused_connections->Value());
}

prometheus::Labels Metrics::LabelsOf(const RequestLabels& labels) const {
  return {{"model_name", model_name_}, {"skip_level", labels.level}, {"arm", labels.arm}};
}

void Metrics::Expect(const std::vector<RequestLabels>& labels) {
  for (const RequestLabels& each : labels) Counters(*families_, LabelsOf(each));
}

Metrics::Series& Metrics::SeriesOf(const RequestLabels& labels) {
  MutexLock lock(mutex_);
  std::unique_ptr<Series>& series = series_[{labels.level, labels.arm}];
  if (!series) series = std::make_unique<Series>(*families_, LabelsOf(labels));
  return *series;
}

RequestObserver& Metrics::Of(const RequestLabels& labels) { return SeriesOf(labels); }

void Metrics::OnRejected(const RequestLabels& labels, Duration e2e, Outcome outcome) {
  Series& series = SeriesOf(labels);
  series.counters.Count(outcome);
  series.ObserveByOutcome(kE2e, NameOf(outcome), e2e);
}

void Metrics::OnStep(const StepObservation& step) {
  families_->step_duration->Observe(Seconds(step.duration));
  families_->step_rows->Observe(step.rows);
  families_->rows_eliminated->Increment(static_cast<double>(step.rows_eliminated));
  families_->preemptions->Increment(step.preemptions);
  families_->shed_layers->Increment(step.shed_layers);
  families_->shed_pages->Increment(static_cast<double>(step.shed_pages));
  families_->prefix_queries->Increment(static_cast<double>(step.prefix_query_tokens));
  families_->prefix_hits->Increment(static_cast<double>(step.prefix_hit_tokens));
}

void Metrics::OnLoad(const EngineLoad& load) {
  families_->running->Set(load.running);
  families_->waiting->Set(load.waiting);
  families_->waiting_tokens->Set(static_cast<double>(load.waiting_tokens));
  families_->free_pages->Set(static_cast<double>(load.pages.free()));
  families_->used_pages->Set(static_cast<double>(load.pages.used));
  families_->cached_pages->Set(static_cast<double>(load.pages.cached));
  families_->weight_bytes->Set(static_cast<double>(load.backend.weight_bytes));
  families_->page_bytes->Set(static_cast<double>(load.backend.page_bytes));
  families_->buffer_bytes->Set(static_cast<double>(load.backend.buffer_bytes));
  families_->recorded_steps->Set(load.backend.recorded_steps);
  families_->usage->Set(static_cast<double>(load.pages.used) /
                        static_cast<double>(std::max<int64_t>(1, load.pages.total)));
}

void Metrics::OnOutputQueue(int64_t change) {
  families_->output_queue->Increment(static_cast<double>(change));
}

void Metrics::Series::OnFirstToken(Duration ttft) { histograms[kTtft]->Observe(Seconds(ttft)); }

void Metrics::Series::OnInterTokenLatency(Duration itl) {
  histograms[kItl]->Observe(Seconds(itl));
  counters.generation_tokens.Increment();
}

void Metrics::Series::OnOutputFinished(const OutputFinished& finished) {
  counters.success[static_cast<int>(finished.reason)]->Increment();
}

void Metrics::Series::OnRequestDone(const RequestObservation& request) {
  const std::string outcome = NameOf(request.outcome);
  const RequestTiming& timing = request.timing;
  counters.Count(request.outcome);
  ObserveByOutcome(kE2e, outcome, timing.e2e);
  counters.prompt_tokens.Increment(request.prompt_tokens);
  // The others were counted as they came.
  counters.generation_tokens.Increment(request.outputs);
  counters.omitted.Increment(static_cast<double>(request.kv_pages_omitted));
  if (request.browned_out) counters.brownouts.Increment();
  histograms[kPromptTokens]->Observe(request.prompt_tokens);
  histograms[kGenerationTokens]->Observe(request.completion_tokens);
  // One that ended in the queue waited there all its time.
  ObserveByOutcome(kQueue, outcome, request.scheduled ? timing.queue : timing.e2e);
  if (request.scheduled) histograms[kAttributed]->Observe(Seconds(timing.attributed));
  if (request.first_token) {
    histograms[kPrefill]->Observe(Seconds(timing.prefill));
    histograms[kDecode]->Observe(Seconds(timing.decode));
    const int per_output = request.completion_tokens / std::max(1, request.outputs);
    if (per_output > 1) ObserveByOutcome(kTpot, outcome, timing.decode / (per_output - 1));
  }
}

}  // namespace skipstone::server
