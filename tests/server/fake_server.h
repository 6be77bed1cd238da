// A server in this process with a fake device behind it: real RPCs over loopback, steps that wait
// at a gate where a test wants them to.
//
//   FakeServer server({.yaml = "max_queue: 1"});
//   server.gate().Close();
//   auto call = server.Generate(Prompt("5 6 7", /*max_tokens=*/4));
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/server.h"
#include "skipstone/v1/inference.grpc.pb.h"
#include "tests/support/fake_runner.h"
#include "tests/support/gate.h"
#include "tests/support/metrics_text.h"

namespace skipstone::server {

struct FakeServerOptions {
  std::string yaml;  // over the defaults; what follows wins over both
  int num_layers = 4;
  int vocab = 100;
  int page_tokens = 4;
  int64_t num_pages = 1000;
  int max_context = 64;
  int max_batch_tokens = 16;
  int max_sequences = 8;
  int max_queue = 100;
  std::vector<int32_t> eos_ids = {};
  int broken_layer = -1;                                       // FakeRunnerOptions
  Duration stall_timeout = std::chrono::minutes(5);            // of a step
  Duration step_time{};                                        // that the device takes
  std::function<Duration(const StepPlan&)> step_time_of = {};  // ... where it is not always that
  bool serve = true;  // false: as while a model loads, until Serve
  std::shared_ptr<const Tokenizer> tokenizer = nullptr;  // default: synthetic
  std::optional<LevelsFile> levels_file = {};
  std::string tokenizer_archive = {};  // its bytes; empty: there is none
};

// True once `condition` holds; false if it does not within a time that no machine needs.
inline bool Eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

inline v1::GenerateRequest Prompt(const std::string& text, uint32_t max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.mutable_stopping()->set_max_tokens(max_tokens);
  return request;
}

// Room for requests that take far longer than any test: 50000 tokens.
inline FakeServerOptions Endless(const std::string& yaml = "") {
  return {.yaml = yaml, .num_pages = 60000, .max_context = 60000};
}

// How a unary call ended.
template <class Response>
struct Answered {
  grpc::Status status;
  Response response;
  std::map<std::string, std::string> initial;   // metadata
  std::map<std::string, std::string> trailing;  // metadata
};

inline std::map<std::string, std::string> CopyOf(
    const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  std::map<std::string, std::string> copy;
  for (const auto& [key, value] : metadata) {
    copy[{key.data(), key.size()}] = {value.data(), value.size()};
  }
  return copy;
}

class FakeServer {
 public:
  explicit FakeServer(FakeServerOptions options = {}) : options_(std::move(options)) {
    EXPECT_TRUE(ReadConfigText(options_.yaml, "test.yaml", config_).ok());
    config_.listen = "127.0.0.1:0";
    config_.metrics_listen = "127.0.0.1:0";
    config_.model_name = "fake";
    auto server = Server::Bind(config_);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->grpc_address(), grpc::InsecureChannelCredentials());
    stub_ = v1::Inference::NewStub(channel_);
    if (options_.serve) Serve();
  }
  ~FakeServer() { gate_.Open(); }

  void Serve() {
    const absl::Status status = server_->Serve(Model());
    EXPECT_TRUE(status.ok()) << status;
  }

  Server& server() { return *server_; }
  std::string server_address() const { return server_->grpc_address(); }
  // As if its file had changed.
  absl::Status Reload(const std::string& yaml) {
    ServerConfig config;
    const absl::Status read = ReadConfigText(yaml, "test.yaml", config);
    return read.ok() ? server_->Reload(config) : read;
  }
  v1::Inference::Stub& stub() { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() { return channel_; }
  FakeRunner& runner() { return *runner_; }
  // Every step passes it before it runs.
  Gate& gate() { return gate_; }

  Answered<v1::GenerateResponse> Generate(
      const v1::GenerateRequest& request,
      const std::function<void(grpc::ClientContext&)>& prepare = {}) {
    grpc::ClientContext context;
    if (prepare) prepare(context);
    Answered<v1::GenerateResponse> answer;
    answer.status = stub_->Generate(&context, request, &answer.response);
    answer.initial = CopyOf(context.GetServerInitialMetadata());
    answer.trailing = CopyOf(context.GetServerTrailingMetadata());
    return answer;
  }

  v1::GetLoadResponse Load() {
    grpc::ClientContext context;
    v1::GetLoadResponse load;
    EXPECT_TRUE(stub_->GetLoad(&context, {}, &load).ok());
    return load;
  }

  // SumOfSamples of /metrics.
  double Metric(const std::string& series, const std::vector<std::string>& labels = {}) {
    return SumOfSamples(ScrapeMetrics(server_->metrics_address()), series, labels);
  }
  double Outcomes(const std::string& outcome) {
    return Metric("skipstone_requests_total", {"outcome=\"" + outcome + "\""});
  }

 private:
  ServedModel Model();

  const FakeServerOptions options_;
  ServerConfig config_;
  Gate gate_;
  FakeRunner* runner_ = nullptr;  // the server's
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

inline ServedModel FakeServer::Model() {
  const FakeServerOptions& o = options_;
  ServedModel model;
  model.info = {.backend = "fake", .weight_type = "f32", .fingerprint = 0x5eed};
  model.info.config.shape = {
      .num_layers = o.num_layers, .vocab = o.vocab, .max_context = o.max_context};
  model.info.config.eos_ids = o.eos_ids;
  model.options = EngineOptionsOf(config_);
  model.options.scheduler.max_batch_tokens = o.max_batch_tokens;
  model.options.scheduler.max_sequences = o.max_sequences;
  model.options.limits.max_queue = o.max_queue;
  model.options.scheduler.page_tokens = o.page_tokens;
  model.options.scheduler.num_pages = o.num_pages;
  model.options.limits.num_layers = o.num_layers;
  model.options.limits.vocab = o.vocab;
  model.options.limits.max_context = o.max_context;
  model.options.eos_ids = o.eos_ids;
  model.options.stall_timeout = o.stall_timeout;
  auto runner = std::make_unique<FakeRunner>(
      FakeRunnerOptions{.vocab = o.vocab,
                        .page_tokens = o.page_tokens,
                        .num_pages = o.num_pages,
                        .num_layers = o.num_layers,
                        .broken_layer = o.broken_layer,
                        .on_launch = [this](const StepPlan& plan) {
                          gate_.Pass();
                          const auto& time_of = options_.step_time_of;
                          std::this_thread::sleep_for(time_of ? time_of(plan) : options_.step_time);
                        }});
  runner_ = runner.get();
  model.runner = std::move(runner);
  model.levels_file = o.levels_file;
  if (!o.tokenizer_archive.empty()) {
    model.tokenizer_archive = TokenizerArchive{.bytes = o.tokenizer_archive, .sha256 = "hash"};
  }
  model.tokenizer = o.tokenizer;
  if (!model.tokenizer) model.tokenizer = MakeSyntheticTokenizer(o.vocab);
  return model;
}

}  // namespace skipstone::server
