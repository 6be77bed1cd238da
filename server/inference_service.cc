#include "server/inference_service.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "server/convert.h"
#include "server/generate_reactor.h"
#include "server/rpc.h"
#include "server/score_reactor.h"

namespace skipstone::server {
namespace {

// Of inference.proto: grows with each addition.
constexpr int kSchemaRevision = 3;

// Each id costs a look-up on a thread that other calls share.
constexpr int kMaxAborts = 1024;

absl::Status CheckLoaded(const Serving* serving) {
  // Reading is allowed while the server drains.
  return serving ? absl::OkStatus() : absl::UnavailableError("the model is loading");
}

PromptRules RulesOf(const Serving& serving) {
  const ModelConfig& config = serving.model.config;
  return {*serving.tokenizer, config.eos_ids, config.shape.vocab};
}

absl::Status TokenizeText(const v1::TokenizeRequest& request, const Serving& serving,
                          v1::TokenizeResponse& response) {
  std::vector<int32_t> ids;
  if (request.input_case() == v1::TokenizeRequest::kChat) {
    SKIPSTONE_ASSIGN_OR_RETURN(ids, ChatIds(request.chat(), RulesOf(serving)));
  } else if (request.input_case() == v1::TokenizeRequest::kText) {
    SKIPSTONE_ASSIGN_OR_RETURN(ids, serving.tokenizer->Encode(request.text()));
    const auto bos = serving.tokenizer->bos_id();
    const bool special = !request.has_add_special_tokens() || request.add_special_tokens();
    if (bos && special) ids.insert(ids.begin(), *bos);
  } else {
    return absl::InvalidArgumentError("input: text or chat is wanted");
  }
  for (const int32_t id : ids) {
    response.add_ids(id);
    response.add_pieces(serving.tokenizer->Piece(id));
  }
  return absl::OkStatus();
}

absl::Status DetokenizeIds(const v1::DetokenizeRequest& request, const Serving& serving,
                           v1::DetokenizeResponse& response) {
  const int vocab = serving.model.config.shape.vocab;
  std::vector<int32_t> ids;
  for (const uint32_t id : request.ids()) {
    if (id >= static_cast<uint32_t>(vocab)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("ids: token id %d is outside the vocabulary of %d", id, vocab));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  response.set_text(serving.tokenizer->Decode(ids));
  return absl::OkStatus();
}

void AddDimensions(const ModelConfig& config, v1::GetModelResponse& response) {
  const ModelShape& shape = config.shape;
  response.set_num_layers(shape.num_layers);
  response.set_hidden_size(shape.hidden);
  response.set_num_heads(shape.heads);
  response.set_num_kv_heads(shape.kv_heads);
  response.set_head_dim(shape.head_dim);
  response.set_ffn_size(shape.ffn);
  response.set_vocab_size(shape.vocab);
  response.set_max_context_tokens(shape.max_context);
  for (const int32_t id : config.eos_ids) response.add_eos_token_ids(id);
  if (config.bos_id) response.set_bos_token_id(*config.bos_id);
}

void AddLevels(const Serving& serving, v1::GetModelResponse& response) {
  const Levels& levels = serving.levels;
  response.set_default_level(levels.default_level().name);
  response.set_allow_custom_skip(levels.allow_custom());
  response.set_max_skipped_attention(levels.max_skipped_attention());
  for (const Level& from : levels.all()) {
    v1::Level* level = response.add_levels();
    level->set_name(from.name);
    level->set_spec(from.skip.ToString());
    level->set_skip_id(from.skip.id());
    level->set_skipped_attention(from.skip.SkippedAttention());
    level->set_skipped_mlp(from.skip.SkippedMlp());
  }
  for (const ExperimentConfig& from : serving.experiments.all()) {
    v1::Experiment* experiment = response.add_experiments();
    experiment->set_name(from.name);
    experiment->set_enabled(from.enabled);
    experiment->set_unit(from.unit);
    for (const ArmConfig& arm : from.arms) {
      v1::ExperimentArm* to = experiment->add_arms();
      to->set_name(arm.name);
      to->set_level(arm.level);
      to->set_weight(arm.weight);
    }
  }
}

void Describe(const Serving& serving, v1::GetModelResponse& response) {
  response.set_model_name(serving.model.name);
  response.set_model_fingerprint(absl::StrFormat("%016x", serving.model.fingerprint));
  response.set_build(SKIPSTONE_VERSION);
  response.set_backend(serving.model.backend);
  response.set_weight_type(serving.model.weight_type);
  AddDimensions(serving.model.config, response);
  response.set_page_tokens(serving.limits.page_tokens);
  response.set_kv_pages(serving.limits.num_pages);
  response.set_max_batch_tokens(serving.limits.max_batch_tokens);
  response.set_max_sequences(serving.limits.max_sequences);
  response.set_max_queue(serving.limits.max_queue);
  response.set_max_queue_tokens(serving.limits.max_queue_tokens);
  response.set_schema_revision(kSchemaRevision);
  AddLevels(serving, response);
}

void DescribeLoad(const Serving& serving, v1::GetLoadResponse& response) {
  const EngineLoad load = serving.engine->load();
  response.set_running(load.running);
  response.set_waiting(load.waiting);
  response.set_kv_pages_total(load.pages.total);
  response.set_kv_pages_used(load.pages.used);
  response.set_kv_pages_free(load.pages.free());
  response.set_kv_pages_cached(load.pages.cached);
  response.set_max_sequences(serving.limits.max_sequences);
  response.set_max_queue(serving.limits.max_queue);
  response.set_draining(serving.draining);
  response.set_waiting_tokens(load.waiting_tokens);
  response.set_max_queue_tokens(serving.limits.max_queue_tokens);
}

}  // namespace

WatchedUnaryReactor* InferenceService::Reactor(Context* context) const {
  Serving* const serving = serving_;
  return new WatchedUnaryReactor(*context, serving ? &serving->stall_watch : nullptr);
}

grpc::ServerUnaryReactor* InferenceService::Generate(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return StartGenerate(serving_, context, in, out);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::GenerateStream(Context* context,
                                                                             const Bytes* in) {
  return StartGenerateStream(serving_, context, in);
}

grpc::ServerUnaryReactor* InferenceService::Score(Context* context, const Bytes* in, Bytes* out) {
  return StartScore(serving_, context, in, out);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      Reactor(context), in, out, [serving = serving_.load()](const auto& request, auto& response) {
        const absl::Status loaded = CheckLoaded(serving);
        return loaded.ok() ? TokenizeText(request, *serving, response) : loaded;
      });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      Reactor(context), in, out, [serving = serving_.load()](const auto& request, auto& response) {
        const absl::Status loaded = CheckLoaded(serving);
        return loaded.ok() ? DetokenizeIds(request, *serving, response) : loaded;
      });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return Answer<v1::GetModelRequest, v1::GetModelResponse>(
      Reactor(context), in, out, [serving = serving_.load()](const auto&, auto& response) {
        const absl::Status loaded = CheckLoaded(serving);
        if (loaded.ok()) Describe(*serving, response);
        return loaded;
      });
}

grpc::ServerUnaryReactor* InferenceService::GetLoad(Context* context, const Bytes* in, Bytes* out) {
  return Answer<v1::GetLoadRequest, v1::GetLoadResponse>(
      Reactor(context), in, out, [serving = serving_.load()](const auto&, auto& response) {
        const absl::Status loaded = CheckLoaded(serving);
        if (loaded.ok()) DescribeLoad(*serving, response);
        return loaded;
      });
}

grpc::ServerUnaryReactor* InferenceService::Abort(Context* context, const Bytes* in, Bytes* out) {
  return Answer<v1::AbortRequest, v1::AbortResponse>(
      Reactor(context), in, out,
      [serving = serving_.load(), peer = context->peer()](const auto& request, auto& response) {
        const absl::Status loaded = CheckLoaded(serving);
        if (!loaded.ok()) return loaded;
        if (request.request_ids_size() > kMaxAborts) {
          return absl::InvalidArgumentError(absl::StrFormat(
              "request_ids: %d ids, the limit is %d", request.request_ids_size(), kMaxAborts));
        }
        std::optional<std::string> owner;
        if (!serving->anybody_may_abort) owner = peer;
        for (const std::string& id : request.request_ids()) {
          if (serving->engine->Abort(id, owner)) response.add_aborted(id);
        }
        return loaded;
      });
}

}  // namespace skipstone::server
