#include "server/inference_service.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/abort.h"
#include "server/answer.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/generate_reactor.h"
#include "server/rpc.h"
#include "server/score_reactor.h"

namespace skipstone::server {
namespace {

// How many fields inference.proto has: none is ever taken away.
int SchemaRevision() {
  const auto& file = *v1::GetModelResponse::descriptor()->file();
  int fields = 0;
  for (int i = 0; i < file.message_type_count(); ++i) fields += file.message_type(i)->field_count();
  return fields;
}

// Of Tokenize's text and Detokenize's ids, so that what the one returns the other takes.
constexpr int kMaxTokenizeBytes = 1 << 20;
constexpr int kMaxDetokenizeIds = 1 << 20;

absl::Status TooMany(const char* field, int64_t size, const char* unit, int64_t most) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %d %s, the limit is %d", field, size, unit, most));
}

absl::Status TokenizeText(const v1::TokenizeRequest& request, const Serving& serving,
                          v1::TokenizeResponse& response) {
  std::vector<int32_t> ids;
  if (request.input_case() == v1::TokenizeRequest::kChat) {
    size_t bytes = 0;
    for (const v1::ChatMessage& message : request.chat().messages()) {
      bytes += message.content().size();
    }
    if (bytes > kMaxTokenizeBytes) return TooMany("chat", bytes, "bytes", kMaxTokenizeBytes);
    SKIPSTONE_ASSIGN_OR_RETURN(ids, ChatIds(request.chat(), RulesOf(serving)));
  } else if (request.input_case() == v1::TokenizeRequest::kText) {
    if (request.text().size() > kMaxTokenizeBytes) {
      return TooMany("text", request.text().size(), "bytes", kMaxTokenizeBytes);
    }
    SKIPSTONE_ASSIGN_OR_RETURN(ids, serving.tokenizer->Encode(request.text()));
    const auto bos = serving.tokenizer->bos_id();
    const bool special = !request.has_add_special_tokens() || request.add_special_tokens();
    if (bos && special) ids.insert(ids.begin(), *bos);
  } else {
    return absl::InvalidArgumentError("input: text or chat is wanted");
  }
  response.mutable_ids()->Reserve(static_cast<int>(ids.size()));
  response.mutable_pieces()->Reserve(static_cast<int>(ids.size()));
  for (const int32_t id : ids) {
    response.add_ids(id);
    response.add_pieces(serving.tokenizer->Piece(id));
  }
  return absl::OkStatus();
}

absl::Status DetokenizeIds(const v1::DetokenizeRequest& request, const Serving& serving,
                           v1::DetokenizeResponse& response) {
  SKIPSTONE_RETURN_IF_ERROR(serving.tokenizer->CheckText());
  if (request.ids_size() > kMaxDetokenizeIds) {
    return TooMany("ids", request.ids_size(), "ids", kMaxDetokenizeIds);
  }
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

void Describe(const Serving& serving, v1::GetModelResponse& response) {
  response.set_model_name(serving.model.name);
  response.set_model_fingerprint(absl::StrFormat("%016x", serving.model.fingerprint));
  response.set_build(SKIPSTONE_VERSION);
  response.set_backend(serving.model.backend);
  response.set_weight_type(serving.model.weight_type);
  AddDimensions(serving.model.config, response);
  const SchedulerOptions& scheduler = serving.config.engine.scheduler;
  response.set_page_tokens(scheduler.page_tokens);
  response.set_kv_pages(scheduler.num_pages);
  response.set_max_batch_tokens(scheduler.max_batch_tokens);
  response.set_max_sequences(serving.config.engine.scheduler.max_sequences);
  response.set_max_queue(serving.config.engine.limits.max_queue);
  response.set_max_queue_tokens(serving.config.engine.limits.max_queue_tokens);
  response.set_schema_revision(SchemaRevision());
  const auto live = serving.live.current();
  response.set_config_generation(live->generation);
  DescribeLevels(live->levels, response);
  DescribeExperiments(live->experiments, response);
}

void DescribeLoad(const Serving& serving, v1::GetLoadResponse& response) {
  const EngineLoad load = serving.engine->load();
  response.set_running(load.running);
  response.set_waiting(load.waiting);
  response.set_kv_pages_total(load.pages.total);
  response.set_kv_pages_used(load.pages.used);
  response.set_kv_pages_free(load.pages.free());
  response.set_kv_pages_cached(load.pages.cached);
  response.set_max_sequences(serving.config.engine.scheduler.max_sequences);
  response.set_max_queue(serving.config.engine.limits.max_queue);
  response.set_draining(serving.leaving);
  response.set_waiting_tokens(load.waiting_tokens);
  response.set_max_queue_tokens(serving.config.engine.limits.max_queue_tokens);
  response.set_saturation(load.saturation);
  response.set_shed_level(load.shed_level);
}

absl::Status AbortRequests(const v1::AbortRequest& request, const grpc::ServerContextBase& context,
                           const Serving& serving, v1::AbortResponse& response) {
  SKIPSTONE_ASSIGN_OR_RETURN(
      const std::vector<std::string> aborted,
      Abort({request.request_ids().begin(), request.request_ids().end()}, context, serving));
  for (const std::string& id : aborted) response.add_aborted(id);
  return absl::OkStatus();
}

template <class Reactor>
Reactor* WithoutMessage(Serving* serving) {
  return new CallWithoutMessage<Reactor>(serving == nullptr ? nullptr : &serving->metrics);
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Generate(Context* context, const Bytes* in,
                                                     Bytes* out) {
  Serving* const serving = serving_;
  if (!in->Valid()) return WithoutMessage<grpc::ServerUnaryReactor>(serving);
  return StartGenerate(serving, context, in, out);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::GenerateStream(Context* context,
                                                                             const Bytes* in) {
  Serving* const serving = serving_;
  if (!in->Valid()) return WithoutMessage<grpc::ServerWriteReactor<Bytes>>(serving);
  return StartGenerateStream(serving, context, in);
}

grpc::ServerUnaryReactor* InferenceService::Score(Context* context, const Bytes* in, Bytes* out) {
  Serving* const serving = serving_;
  if (!in->Valid()) return WithoutMessage<grpc::ServerUnaryReactor>(serving);
  return StartScore(serving, context, in, out);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return AnswerRead<v1::TokenizeRequest, v1::TokenizeResponse>(serving_, context, in, out,
                                                           TokenizeText);
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(Context* context, const Bytes* in,
                                                       Bytes* out) {
  return AnswerRead<v1::DetokenizeRequest, v1::DetokenizeResponse>(serving_, context, in, out,
                                                               DetokenizeIds);
}

grpc::ServerUnaryReactor* InferenceService::GetModel(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return AnswerEmpty<v1::GetModelResponse>(serving_, context, in, out, Describe);
}

grpc::ServerUnaryReactor* InferenceService::GetLoad(Context* context, const Bytes* in, Bytes* out) {
  return AnswerEmpty<v1::GetLoadResponse>(serving_, context, in, out, DescribeLoad);
}

grpc::ServerUnaryReactor* InferenceService::Abort(Context* context, const Bytes* in, Bytes* out) {
  return AnswerRead<v1::AbortRequest, v1::AbortResponse>(
      serving_, context, in, out,
      [context](const v1::AbortRequest& request, const Serving& serving,
                v1::AbortResponse& response) {
        return AbortRequests(request, *context, serving, response);
      });
}

}  // namespace skipstone::server
