#include "server/vllm/vllm_service.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "server/abort.h"
#include "server/answer.h"
#include "server/generate_reactor.h"
#include "server/rpc.h"
#include "server/vllm/request_fields.h"
#include "server/vllm/vllm_dialect.h"

namespace skipstone::server {
namespace {

// A path that exists nowhere: gateways look there first, and ask for the tokenizer then.
std::string NoPath(const ModelInfo& model) {
  return absl::StrFormat("/skipstone/%016x", model.fingerprint);
}

void DescribeModel(const Serving& serving, const std::string& level,
                   vllm_api::GetModelInfoResponse& to) {
  const ModelConfig& config = serving.model.config;
  to.set_model_path(NoPath(serving.model));
  to.set_tokenizer_path(NoPath(serving.model));
  to.set_served_model_name(level.empty() ? serving.model.name : serving.model.name + ":" + level);
  to.set_is_generation(true);
  to.set_max_context_length(config.shape.max_context);
  to.set_max_req_input_len(config.shape.max_context);
  to.set_vocab_size(config.shape.vocab);
  to.set_model_type("llama");
  to.add_architectures("LlamaForCausalLM");
  for (const int32_t id : config.eos_ids) to.add_eos_token_ids(id);
  if (config.bos_id) to.set_bos_token_id(*config.bos_id);
}

void DescribeServer(const Serving& serving, vllm_api::GetServerInfoResponse& to) {
  const EngineLoad load = serving.engine->load();
  const SchedulerOptions& scheduler = serving.config.engine.scheduler;
  to.set_active_requests(load.running + load.waiting);
  to.set_uptime_seconds(Seconds(SystemClock().Now() - serving.started));
  to.set_server_type("vllm-grpc");  // the dialect's name for itself
  to.set_data_parallel_size(1);
  to.set_block_size(scheduler.page_tokens);
  to.set_model_dtype(serving.model.weight_type);
  to.set_max_num_seqs(scheduler.max_sequences);
}

void DescribeLoads(const Serving& serving, vllm_api::GetLoadsResponse& to) {
  const EngineLoad load = serving.engine->load();
  const SchedulerOptions& scheduler = serving.config.engine.scheduler;
  // A token of the full model takes a place in a page of each layer.
  const int layers = std::max(1, serving.model.config.shape.num_layers);
  const auto tokens = [&](int64_t pages) {
    return static_cast<int32_t>(
        std::min<int64_t>(pages * scheduler.page_tokens / layers, INT32_MAX));
  };
  to.set_timestamp(absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()));
  to.set_version(SKIPSTONE_VERSION);
  to.set_dp_rank_count(1);
  vllm_api::SchedulerLoad& rank = *to.add_loads();
  rank.set_num_running_reqs(load.running);
  rank.set_num_waiting_reqs(load.waiting);
  rank.set_num_total_reqs(load.running + load.waiting);
  rank.set_num_used_tokens(tokens(load.pages.used));
  rank.set_max_total_num_tokens(tokens(load.pages.total));
  rank.set_token_usage(1.0 * load.pages.used / std::max<int64_t>(1, load.pages.total));
  rank.set_max_running_requests(scheduler.max_sequences);
  rank.set_num_waiting_uncached_tokens(
      static_cast<int32_t>(std::min<int64_t>(load.waiting_tokens, INT32_MAX)));
}

absl::Status AbortRequests(const vllm_api::AbortRequest& request,
                           const grpc::ServerContextBase& context, const Serving& serving) {
  std::vector<std::string> ids;
  for (const std::string& id : request.request_ids()) ids.push_back(IdOf(id));
  return Abort(ids, context, serving).status();
}

// Sends the archive in parts that any client takes.
class TokenizerReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  TokenizerReactor(grpc::CallbackServerContext& context, const Serving& serving)
      : archive_(*serving.tokenizer_archive),
        stall_(serving.stall_watch.Add([&context] { context.TryCancel(); })) {
    WriteNext();
  }

  void OnWriteDone(bool ok) override {
    stall_->WriteDone();
    if (!ok || sent_ == archive_.bytes.size()) {
      Finish(grpc::Status::OK);
      return;
    }
    WriteNext();
  }
  void OnDone() override {
    stall_->End();
    delete this;
  }

 private:
  void WriteNext() {
    constexpr size_t kBytes = 64 << 10;
    smg::grpc::common::GetTokenizerChunk chunk;
    chunk.set_data(archive_.bytes.substr(sent_, kBytes));
    sent_ += chunk.data().size();
    if (sent_ == archive_.bytes.size()) chunk.set_sha256(archive_.sha256);
    bytes_ = Serialize(chunk);
    stall_->WriteStarted();
    StartWrite(&bytes_);
  }

  const TokenizerArchive& archive_;
  const std::shared_ptr<StallWatch::Stream> stall_;
  size_t sent_ = 0;
  grpc::ByteBuffer bytes_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* VllmService::Generate(Context* context,
                                                                  const Bytes* in) {
  Serving* const serving = serving_;
  using Reactor = grpc::ServerWriteReactor<Bytes>;
  if (!in->Valid()) {
    return new CallWithoutMessage<Reactor>(serving == nullptr ? nullptr : &serving->metrics);
  }
  if (serving == nullptr) return new RefusedCall<Reactor>(ToGrpc(CheckServing(nullptr)));
  const PromptForm form{.bos_id = serving->tokenizer->bos_id(),
                        .max_context = serving->model.config.shape.max_context};
  return StartGenerateStream(serving, context, in,
                             std::make_unique<VllmDialect>(*context, level_, form));
}

// Without a key, as the health service itself.
grpc::ServerUnaryReactor* VllmService::HealthCheck(Context* context, const Bytes* /*in*/,
                                                   Bytes* out) {
  Serving* const serving = serving_;
  absl::Status status = CheckServing(serving);
  if (status.ok() && serving->leaving) status = absl::UnavailableError("the server is leaving");
  if (status.ok() && !serving->engine->health().ok()) {
    status = absl::UnavailableError("the engine is not healthy");  // why is the log's
  }
  vllm_api::HealthCheckResponse response;
  response.set_healthy(status.ok());
  response.set_message(std::string(status.message()));
  *out = Serialize(response);
  auto* const reactor =
      new WatchedUnaryReactor(*context, serving == nullptr ? nullptr : &serving->stall_watch);
  reactor->FinishWatched(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* VllmService::Abort(Context* context, const Bytes* in, Bytes* out) {
  return AnswerRead<vllm_api::AbortRequest, vllm_api::AbortResponse>(
      serving_, context, in, out,
      [context](const vllm_api::AbortRequest& request, const Serving& serving,
                vllm_api::AbortResponse&) { return AbortRequests(request, *context, serving); });
}

grpc::ServerUnaryReactor* VllmService::GetModelInfo(Context* context, const Bytes* in, Bytes* out) {
  return AnswerEmpty<vllm_api::GetModelInfoResponse>(
      serving_, context, in, out,
      [this](const Serving& serving, auto& response) { DescribeModel(serving, level_, response); });
}

grpc::ServerUnaryReactor* VllmService::GetServerInfo(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return AnswerEmpty<vllm_api::GetServerInfoResponse>(serving_, context, in, out, DescribeServer);
}

grpc::ServerUnaryReactor* VllmService::GetLoads(Context* context, const Bytes* in, Bytes* out) {
  return AnswerEmpty<vllm_api::GetLoadsResponse>(serving_, context, in, out, DescribeLoads);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* VllmService::GetTokenizer(Context* context,
                                                                      const Bytes* /*in*/) {
  Serving* const serving = serving_;
  absl::Status status;
  if (serving == nullptr) {
    status = CheckServing(nullptr);
  } else if (const auto key = KeyOf(*context, *serving->live.current(), serving->metrics);
             !key.ok()) {
    status = key.status();
  } else {
    status = serving->tokenizer_archive.status();
  }
  if (!status.ok()) return new RefusedCall<grpc::ServerWriteReactor<Bytes>>(ToGrpc(status));
  return new TokenizerReactor(*context, *serving);
}

}  // namespace skipstone::server
