#include "server/metrics.h"

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsSupersetOf;

std::vector<std::string> LinesOf(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Label -> its values, over all samples of a series.
std::map<std::string, std::set<std::string>> LabelsOf(const std::string& text,
                                                      const std::string& series) {
  std::map<std::string, std::set<std::string>> labels;
  for (const std::string& line : LinesOf(text)) {
    if (line.rfind(series + "{", 0) != 0) continue;
    size_t at = series.size() + 1;
    while (line[at] != '}') {
      const size_t equals = line.find("=\"", at);
      const size_t end = line.find('"', equals + 2);
      labels[line.substr(at, equals - at)].insert(line.substr(equals + 2, end - equals - 2));
      at = end + (line[end + 1] == ',' ? 2 : 1);
    }
  }
  return labels;
}

std::set<std::string> KeysOf(const std::map<std::string, std::set<std::string>>& labels) {
  std::set<std::string> keys;
  for (const auto& [key, values] : labels) keys.insert(key);
  return keys;
}

// Every way in which a request can end.
class MixedLoad {
 public:
  MixedLoad()
      : server_({.yaml = "levels: {full: none, deep: 'attn:last=2'}\n"
                         "experiments:\n- name: e\n  unit: request.experiment_key\n"
                         "  arms: [{name: a, level: deep, weight: 1}]\n",
                 .num_pages = 60000,
                 .max_context = 60000}) {
    Ok();
    Reject();
    Cancel();
    Abort();
    Expire();
    server_.runner().FailSteps();
    EXPECT_EQ(server_.Generate(Prompt("5", 2)).status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_TRUE(Eventually([&] { return server_.Metric("skipstone_requests_total") == sent(); }));
    text_ = ScrapeMetrics(server_.server().metrics_address());
  }

  const std::string& text() const { return text_; }
  double Sum(const std::string& series, const std::vector<std::string>& labels = {}) const {
    return SumOfSamples(text_, "skipstone_" + series, labels);
  }
  static constexpr int kOk = 5;
  static constexpr int kRejected = 3;
  static double sent() { return kOk + kRejected + 5; }

 private:
  void Ok() {
    v1::GenerateRequest request = Prompt("5 6 7", 10);
    for (const std::string level : {"full", "deep"}) {
      request.mutable_skip()->set_level(level);
      EXPECT_TRUE(server_.Generate(request).status.ok());
    }
    for (const std::string spec : {"attn:0", "attn:last=2"}) {
      request.mutable_skip()->set_spec(spec);
      EXPECT_TRUE(server_.Generate(request).status.ok());
    }
    request.clear_skip();
    request.set_experiment_key("k");
    EXPECT_TRUE(server_.Generate(request).status.ok());
  }
  void Reject() {
    v1::GenerateRequest request = Prompt("5", 1);
    request.mutable_skip()->set_level("no-such-level");
    EXPECT_FALSE(server_.Generate(request).status.ok());
    request.mutable_skip()->set_spec("nonsense");
    EXPECT_FALSE(server_.Generate(request).status.ok());
    request.mutable_skip()->set_level("deep");
    request.set_n(0);
    EXPECT_FALSE(server_.Generate(request).status.ok());
  }
  void Cancel() {
    Streaming stream(server_.stub(), Prompt("5", 50000));
    EXPECT_TRUE(stream.Read());
    stream.Cancel();
    EXPECT_FALSE(stream.ReadAll().ok());
  }
  void Abort() {
    v1::GenerateRequest request = Prompt("5", 50000);
    request.set_request_id("abort");
    Streaming stream(server_.stub(), request);
    EXPECT_TRUE(stream.Read());
    grpc::ClientContext context;
    v1::AbortRequest abort;
    abort.add_request_ids("abort");
    v1::AbortResponse aborted;
    EXPECT_TRUE(server_.stub().Abort(&context, abort, &aborted).ok());
    EXPECT_TRUE(stream.ReadAll().ok());
  }
  void Expire() {
    v1::GenerateRequest request = Prompt("5", 50000);
    request.mutable_stopping()->set_time_limit_ms(20);
    EXPECT_TRUE(server_.Generate(request).status.ok());
    const auto late = server_.Generate(Prompt("5", 50000), [](grpc::ClientContext& context) {
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
    });
    EXPECT_EQ(late.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    // The client's timer may fire before the server's.
    EXPECT_TRUE(Eventually([&] { return server_.Outcomes("deadline") == 1; }));
  }

  FakeServer server_;
  std::string text_;
};

class MetricsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { load_ = new MixedLoad; }
  static void TearDownTestSuite() {
    delete load_;
    load_ = nullptr;
  }
  static MixedLoad* load_;
};
MixedLoad* MetricsTest::load_ = nullptr;

TEST_F(MetricsTest, CountsEachRequestUnderOneOutcome) {
  const std::map<std::string, int> outcomes = {{"ok", MixedLoad::kOk},
                                               {"rejected", MixedLoad::kRejected},
                                               {"cancelled", 1},
                                               {"aborted", 1},
                                               {"deadline", 1},
                                               {"time_limit", 1},
                                               {"error", 1}};
  for (const auto& [outcome, count] : outcomes) {
    const std::string label = "outcome=\"" + outcome + "\"";
    EXPECT_EQ(load_->Sum("requests_total", {label}), count) << outcome;
    EXPECT_EQ(load_->Sum("e2e_request_latency_seconds_count", {label}), count) << outcome;
    const bool queued = outcome != "rejected";
    EXPECT_EQ(load_->Sum("request_queue_time_seconds_count", {label}), queued ? count : 0)
        << outcome;
  }
  EXPECT_EQ(load_->Sum("requests_total"), MixedLoad::sent());
  EXPECT_EQ(LabelsOf(load_->text(), "skipstone_requests_total")["outcome"].size(), outcomes.size());
}

// deploy.prometheus_scrape compares names and labels with the table.
TEST_F(MetricsTest, LabelsAreThoseOfTheContract) {
  const std::set<std::string> server = {"model_name"};
  const std::set<std::string> request = {"model_name", "skip_level", "arm"};
  const std::map<std::string, std::set<std::string>> more = {
      {"requests_total", {"outcome"}},
      {"request_success_total", {"finished_reason"}},
      {"request_time_per_output_token_seconds", {"outcome"}},
      {"e2e_request_latency_seconds", {"outcome"}},
      {"request_queue_time_seconds", {"outcome"}},
      {"kv_pages", {"state"}},
      {"backend_memory_bytes", {"use"}},
      {"level_quality_kl_nats", {"level"}},
      {"exposure_records_total", {"state"}},
      {"shadow_dropped_total", {"reason"}},
      {"experiment_unassigned_total", {"reason"}},
      {"api_key_refusals_total", {"reason"}},
      {"tenant_prompt_tokens_total", {"tenant"}},
      {"tenant_generation_tokens_total", {"tenant"}},
      {"tenant_attributed_seconds_total", {"tenant"}},
      {"tenant_kv_page_seconds_total", {"tenant"}},
      {"build_info", {"version", "backend"}},
      {"cache_config_info", {"block_size", "num_gpu_blocks"}}};
  for (const std::string& line : LinesOf(load_->text())) {
    if (line.rfind("# TYPE ", 0) != 0) continue;
    const std::string full = line.substr(7, line.find(' ', 7) - 7);
    const std::string name = full.substr(std::string("skipstone_").size());
    const bool histogram = line.find(" histogram") != std::string::npos;
    std::set<std::string> labels =
        KeysOf(LabelsOf(load_->text(), histogram ? full + "_count" : full));
    const auto own = more.find(name);
    if (own != more.end()) {
      for (const std::string& label : own->second) EXPECT_EQ(labels.erase(label), 1) << name;
    }
    EXPECT_THAT(labels, testing::AnyOf(server, request)) << name;
    EXPECT_EQ(full, "skipstone_" + name);
  }
}

TEST_F(MetricsTest, SkipLevelsAndArmsAreBounded) {
  auto labels = LabelsOf(load_->text(), "skipstone_requests_total");
  EXPECT_EQ(labels["skip_level"], (std::set<std::string>{"full", "deep", "custom"}));
  EXPECT_EQ(labels["arm"], (std::set<std::string>{"", "e/a"}));
  EXPECT_EQ(labels["model_name"], (std::set<std::string>{"fake"}));
  // By the requested level: two specs, and two that were refused without a level to name.
  EXPECT_EQ(load_->Sum("requests_total", {"skip_level=\"custom\""}), 4);
}

TEST_F(MetricsTest, CountsTokensOfWhateverEnd) {
  EXPECT_EQ(load_->Sum("request_success_total", {"finished_reason=\"max_tokens\""}),
            MixedLoad::kOk);
  EXPECT_EQ(load_->Sum("request_success_total", {"finished_reason=\"aborted\""}), 1);
  EXPECT_EQ(load_->Sum("request_success_total", {"finished_reason=\"time_limit\""}), 1);
  EXPECT_EQ(load_->Sum("prompt_tokens_total"), load_->Sum("request_prompt_tokens_sum"));
  EXPECT_EQ(load_->Sum("generation_tokens_total"), load_->Sum("request_generation_tokens_sum"));
  EXPECT_GT(load_->Sum("generation_tokens_total"), MixedLoad::kOk * 10);
  EXPECT_EQ(
      load_->Sum("inter_token_latency_seconds_count"),
      load_->Sum("generation_tokens_total") - load_->Sum("time_to_first_token_seconds_count"));
  EXPECT_GE(load_->Sum("step_rows_sum"), load_->Sum("generation_tokens_total"));
  EXPECT_EQ(load_->Sum("kv_pages", {"state=\"used\""}), 0);
}

std::vector<double> BoundsOf(const std::string& text, const std::string& histogram) {
  std::set<double> bounds;
  auto labels = LabelsOf(text, "skipstone_" + histogram + "_bucket");
  for (const std::string& bound : labels["le"]) {
    if (bound != "+Inf") bounds.insert(std::stod(bound));
  }
  return {bounds.begin(), bounds.end()};
}

TEST_F(MetricsTest, BucketsContainThoseOfTheConvention) {
  const std::vector<double> token = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                     0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
  const std::vector<double> first = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06,  0.08, 0.1,
                                     0.25,  0.5,   0.75, 1.0,  2.5,  5.0,   7.5,  10.0,
                                     20.0,  40.0,  80.0, 160., 640., 2560.0};
  const std::vector<double> request = {0.3,  0.5,   0.8,   1.0,   1.5,  2.0,   2.5,
                                       5.0,  10.0,  15.0,  20.0,  30.0, 40.0,  50.0,
                                       60.0, 120.0, 240.0, 480.0, 960., 1920., 7680.};
  const std::map<std::string, std::pair<std::vector<double>, double>> expected = {
      {"inter_token_latency_seconds", {token, 0.001}},
      {"request_time_per_output_token_seconds", {token, 0.001}},
      {"time_to_first_token_seconds", {first, 0.001}},
      {"e2e_request_latency_seconds", {request, 0.005}},
      {"request_queue_time_seconds", {request, 0.005}},
      {"request_prefill_time_seconds", {request, 0.005}},
      {"request_decode_time_seconds", {request, 0.005}}};
  for (const auto& [histogram, bounds] : expected) {
    const std::vector<double> ours = BoundsOf(load_->text(), histogram);
    EXPECT_THAT(ours, IsSupersetOf(bounds.first)) << histogram;
    EXPECT_EQ(ours.empty() ? 0 : ours.front(), bounds.second) << histogram;
  }
}

TEST(MetricsBucketsTest, TheConfigurationReplacesBounds) {
  FakeServer server({.yaml = "buckets: {step_rows: [1, 3, 1000]}"});
  EXPECT_TRUE(server.Generate(Prompt("5 6", 3)).status.ok());
  const std::string text = ScrapeMetrics(server.server().metrics_address());
  EXPECT_THAT(BoundsOf(text, "step_rows"), ElementsAreArray({1.0, 3.0, 1000.0}));
  EXPECT_EQ(SumOfSamples(text, "skipstone_step_rows_bucket", {"le=\"3\""}), 3);
}

TEST(MetricsBucketsTest, NamesAHistogramThatDoesNotExist) {
  const absl::Status unknown = Metrics::CheckBuckets({{"steps", {1}}});
  EXPECT_TRUE(absl::IsInvalidArgument(unknown));
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("'steps'; there are: time_to_first"));
  EXPECT_TRUE(absl::IsInvalidArgument(Metrics::CheckBuckets({{"step_rows", {}}})));
  EXPECT_TRUE(Metrics::CheckBuckets({{"step_rows", {1}}}).ok());
}

TEST(MetricsAdaptationTest, CountsWhatTheEngineReports) {
  Metrics metrics("fake", {});
  metrics.OnStep({.shed_layers = 3, .shed_pages = 12});
  metrics.OnStep({.shed_layers = 1, .shed_pages = 5});
  metrics.OnLoad({.waiting = 2, .waiting_tokens = 70});
  const RequestLabels full{.level = "full"};
  metrics.Of(full).OnRequestDone({.labels = full, .browned_out = true});
  metrics.Of(full).OnRequestDone({.labels = full});
  metrics.Of({.level = "deep", .arm = "e/a"}).OnRequestDone({});
  const std::string text = metrics.Text();
  const auto sum = [&](const std::string& series, const std::vector<std::string>& labels = {}) {
    return SumOfSamples(text, "skipstone_" + series, labels);
  };
  EXPECT_EQ(sum("shed_attention_layers_total"), 4);
  EXPECT_EQ(sum("shed_pages_total"), 17);
  EXPECT_EQ(sum("num_waiting_prompt_tokens"), 70);
  EXPECT_EQ(sum("brownouts_total", {"skip_level=\"full\"", "arm=\"\""}), 1);
  EXPECT_EQ(sum("brownouts_total"), 1);
}

TEST(MetricsAdaptationTest, ATenantIsNoLabel) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant-id"});
  const auto answer = server.Generate(Prompt("5 6", 3), [](grpc::ClientContext& context) {
    context.AddMetadata("x-tenant-id", "acme-7");
  });
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(server.Outcomes("ok"), 1);
  EXPECT_THAT(ScrapeMetrics(server.server().metrics_address()), testing::Not(HasSubstr("acme-7")));
}

// A rate needs the 0 before the first of them.
TEST(MetricsSeriesTest, AllThatMayBeCountedIsThereFromTheStart) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\n"
                             "experiments:\n- name: e\n  unit: request.experiment_key\n"
                             "  arms: [{name: a, level: deep, weight: 1}]\n"});
  const std::string text = ScrapeMetrics(server.server().metrics_address());
  const std::pair<std::string, std::string> expected[] = {
      {"full", ""}, {"deep", ""}, {"custom", ""}, {"deep", "e/a"}};
  const std::vector<std::string> outcomes = {"ok",         "cancelled", "aborted", "deadline",
                                             "time_limit", "rejected",  "error"};
  size_t series = 0;
  for (const std::string& line : LinesOf(text)) {
    if (line.rfind("skipstone_requests_total{", 0) == 0) ++series;
  }
  EXPECT_EQ(series, std::size(expected) * outcomes.size()) << "and no others";
  for (const auto& [level, arm] : expected) {
    const std::string labels = absl::StrFormat("arm=\"%s\",model_name=\"fake\"", arm);
    for (const std::string& outcome : outcomes) {
      EXPECT_THAT(text, HasSubstr(absl::StrFormat(
                            "skipstone_requests_total{%s,outcome=\"%s\",skip_level=\"%s\"} 0",
                            labels, outcome, level)));
    }
    for (const char* counter : {"prompt_tokens_total", "generation_tokens_total"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrFormat("skipstone_%s{%s,skip_level=\"%s\"} 0", counter,
                                                  labels, level)));
    }
  }
}

TEST(MetricsLoadTest, GaugesFollowTheEngine) {
  FakeServer server({.max_sequences = 2});
  server.gate().Close();
  std::vector<std::unique_ptr<Streaming>> streams;
  for (int i = 0; i < 5; ++i) {
    streams.push_back(std::make_unique<Streaming>(server.stub(), Prompt("5 6 7", 4)));
  }
  server.gate().WaitArrivals(1);
  const auto metric = [&](const std::string& name, const std::vector<std::string>& labels = {}) {
    return server.Metric("skipstone_" + name, labels);
  };
  EXPECT_EQ(metric("kv_pages"), 1000) << "free + used + cached";
  EXPECT_EQ(metric("backend_memory_bytes", {"use=\"weights\""}), 1000);
  EXPECT_EQ(metric("backend_memory_bytes"), 1230) << "weights + kv_pages + buffers";
  EXPECT_EQ(metric("recorded_steps"), 4);
  server.gate().Open();
  for (const auto& stream : streams) EXPECT_TRUE(stream->ReadAll().ok());
  EXPECT_TRUE(Eventually([&] { return metric("num_requests_running") == 0; }));
  EXPECT_EQ(metric("num_requests_waiting"), 0);
  EXPECT_EQ(metric("num_waiting_prompt_tokens"), 0);
  EXPECT_EQ(metric("kv_cache_usage_perc"), 0);
  EXPECT_TRUE(Eventually([&] { return metric("output_queue_events") == 0; }));
  EXPECT_EQ(metric("kv_pages"), 1000);
  EXPECT_EQ(metric("build_info"), 1);
  EXPECT_EQ(metric("cache_config_info", {"block_size=\"4\"", "num_gpu_blocks=\"250\""}), 1);
}

}  // namespace
}  // namespace skipstone::server
