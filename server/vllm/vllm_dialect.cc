#include "server/vllm/vllm_dialect.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/convert.h"
#include "server/rpc.h"
#include "server/vllm/request_fields.h"

namespace skipstone::server {
namespace {

absl::Status NotServed(const std::string& field) {
  return absl::InvalidArgumentError(absl::StrFormat("%s: this is not served", field));
}

// Of a field whose 0 stands for unset, unless it is optional.
template <class T>
absl::Status NotNegative(const char* field, T value) {
  if (value >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("sampling_params.%s: %d is not served", field, value));
}

absl::Status CheckServed(const vllm_api::GenerateRequest& from) {
  if (from.has_kv_transfer_params()) return NotServed("kv_transfer_params");
  if (from.has_kv_transfer_params_json()) return NotServed("kv_transfer_params_json");
  if (from.has_mm_inputs()) return NotServed("mm_inputs");
  if (from.extra_mm_inputs_size() > 0) return NotServed("extra_mm_inputs");
  if (from.has_media_refs()) return NotServed("media_refs");
  if (from.data_parallel_rank() != 0) {
    return NotServed(absl::StrFormat("data_parallel_rank: %d", from.data_parallel_rank()));
  }
  const vllm_api::SamplingParams& params = from.sampling_params();
  const auto* const constraint =
      vllm_api::SamplingParams::descriptor()->FindOneofByName("constraint");
  const auto* const given = params.GetReflection()->GetOneofFieldDescriptor(params, constraint);
  if (given != nullptr) return NotServed("sampling_params." + given->name());
  return absl::OkStatus();
}

absl::Status SetSampling(const vllm_api::SamplingParams& from, v1::Sampling& to) {
  if (from.has_temperature()) to.set_temperature(from.temperature());
  if (from.top_p() != 0) to.set_top_p(from.top_p());
  if (from.top_k() != 0) to.set_top_k(from.top_k());
  if (from.min_p() != 0) to.set_min_p(from.min_p());
  if (from.frequency_penalty() != 0) to.set_frequency_penalty(from.frequency_penalty());
  if (from.presence_penalty() != 0) to.set_presence_penalty(from.presence_penalty());
  if (from.repetition_penalty() != 0) to.set_repetition_penalty(from.repetition_penalty());
  if (from.has_seed()) to.set_seed(static_cast<uint64_t>(int64_t{from.seed()}));
  for (const auto& [id, bias] : from.logit_bias()) {
    SKIPSTONE_RETURN_IF_ERROR(NotNegative("logit_bias", id));
    (*to.mutable_logit_bias())[static_cast<uint32_t>(id)] = bias;
  }
  return absl::OkStatus();
}

void SetStopping(const vllm_api::SamplingParams& from, v1::Stopping& to) {
  if (from.has_max_tokens()) to.set_max_tokens(from.max_tokens());
  if (from.min_tokens() != 0) to.set_min_tokens(from.min_tokens());
  *to.mutable_stop_strings() = from.stop();
  *to.mutable_stop_token_ids() = from.stop_token_ids();
  if (from.ignore_eos()) to.set_ignore_eos(true);
  // Who joins the ids to a text cuts stops off, and has to see them.
  to.set_include_stop(true);
}

absl::Status SetOutput(const vllm_api::SamplingParams& from, v1::Output& to) {
  SKIPSTONE_RETURN_IF_ERROR(NotNegative("logprobs", from.logprobs()));
  SKIPSTONE_RETURN_IF_ERROR(NotNegative("prompt_logprobs", from.prompt_logprobs()));
  if (from.has_logprobs()) to.set_logprobs(from.logprobs());
  if (from.has_prompt_logprobs()) to.set_prompt_logprobs(from.prompt_logprobs());
  to.set_token_ids(true);
  return absl::OkStatus();
}

absl::Status SetPrompt(const vllm_api::GenerateRequest& from, const PromptForm& form,
                       v1::GenerateRequest& to) {
  if (from.has_text()) {
    to.set_text(from.text());
    return absl::OkStatus();
  }
  if (!from.has_tokenized()) {
    return absl::InvalidArgumentError("input: tokenized or text is wanted");
  }
  const auto& given = from.tokenized().input_ids();
  auto& ids = *to.mutable_token_ids()->mutable_ids();
  const auto bos_id = form.bos_id;
  if (bos_id && !given.empty() && given[0] != static_cast<uint32_t>(*bos_id)) ids.Add(*bos_id);
  ids.MergeFrom(given);
  return absl::OkStatus();
}

void Add(const v1::Token& token, auto& to) {
  to.add_token_ids(token.id());
  vllm_api::TopLogProbs& top = *to.add_top_logprobs();
  for (const v1::TopToken& each : token.top()) {
    top.add_values(each.logprob());
    top.add_token_ids(each.id());
  }
}

vllm_api::OutputLogProbs OutputLogprobs(const v1::Delta& delta) {
  vllm_api::OutputLogProbs to;
  for (const v1::Token& token : delta.tokens()) {
    to.add_token_logprobs(token.logprob());
    Add(token, to);
  }
  return to;
}

vllm_api::InputLogProbs InputLogprobs(const v1::Delta& delta) {
  vllm_api::InputLogProbs to;
  for (const v1::Token& token : delta.prompt_tokens()) {
    auto& logprob = *to.add_token_logprobs();
    if (token.has_logprob()) logprob.set_value(token.logprob());
    Add(token, to);
  }
  return to;
}

const char* ReasonOf(v1::FinishReason reason) {
  switch (reason) {
    case v1::MAX_TOKENS:
    case v1::CONTEXT_FULL:
    case v1::TIME_LIMIT:
      return "length";
    case v1::ABORTED:
      return "abort";
    default:
      return "stop";
  }
}

}  // namespace

absl::StatusOr<v1::GenerateRequest> OurRequest(const vllm_api::GenerateRequest& from,
                                               const PromptForm& form) {
  SKIPSTONE_RETURN_IF_ERROR(CheckServed(from));
  v1::GenerateRequest to;
  const vllm_api::SamplingParams& params = from.sampling_params();
  SKIPSTONE_RETURN_IF_ERROR(SetPrompt(from, form, to));
  SKIPSTONE_RETURN_IF_ERROR(SetSampling(params, *to.mutable_sampling()));
  SetStopping(params, *to.mutable_stopping());
  SKIPSTONE_RETURN_IF_ERROR(SetOutput(params, *to.mutable_output()));
  if (params.n() != 0) to.set_n(params.n());
  if (params.has_truncate_prompt_tokens()) {
    constexpr int kToTheContext = -1;
    const int given = params.truncate_prompt_tokens();
    if (given != kToTheContext) {
      SKIPSTONE_RETURN_IF_ERROR(NotNegative("truncate_prompt_tokens", given));
    }
    to.set_truncate_prompt_tokens(given == kToTheContext ? form.max_context - 1 : given);
  }
  return to;
}

absl::StatusOr<v1::GenerateRequest> VllmDialect::Read(grpc::ByteBuffer& bytes) {
  vllm_api::GenerateRequest from;
  SKIPSTONE_RETURN_IF_ERROR(Parse(bytes, from));
  streamed_ = from.stream();
  logprobs_ = from.sampling_params().has_logprobs();
  prompt_logprobs_ = from.sampling_params().has_prompt_logprobs();
  SKIPSTONE_ASSIGN_OR_RETURN(v1::GenerateRequest to, OurRequest(from, form_));
  SKIPSTONE_RETURN_IF_ERROR(SetFields(from.request_id(), context_, to));
  if (!to.has_skip() && !level_.empty()) to.mutable_skip()->set_level(level_);
  return to;
}

std::optional<grpc::ByteBuffer> VllmDialect::Write(v1::GenerateEvent& event) {
  vllm_api::GenerateResponse response;
  if (event.has_accepted()) {
    prompt_tokens_ = event.accepted().prompt_tokens();
    cached_tokens_ = event.accepted().cached_prompt_tokens();
    return std::nullopt;
  }
  if (event.has_finished()) {
    *response.mutable_complete() = CompleteOf(event.finished());
    return Serialize(response);
  }
  v1::Delta& delta = *event.mutable_delta();
  delta.clear_text();
  if (!streamed_) {
    AppendDelta(delta, &outputs_[delta.index()]);
    return std::nullopt;
  }
  // Text that was held back, whose tokens went before.
  if (delta.tokens().empty() && delta.prompt_tokens().empty()) return std::nullopt;
  *response.mutable_chunk() = ChunkOf(delta);
  return Serialize(response);
}

vllm_api::GenerateStreamChunk VllmDialect::ChunkOf(const v1::Delta& delta) const {
  vllm_api::GenerateStreamChunk chunk;
  for (const v1::Token& token : delta.tokens()) chunk.add_token_ids(token.id());
  chunk.set_prompt_tokens(prompt_tokens_);
  chunk.set_completion_tokens(delta.tokens_size());
  chunk.set_cached_tokens(cached_tokens_);
  chunk.set_index(delta.index());
  if (logprobs_) *chunk.mutable_output_logprobs() = OutputLogprobs(delta);
  if (!delta.prompt_tokens().empty()) *chunk.mutable_input_logprobs() = InputLogprobs(delta);
  return chunk;
}

vllm_api::GenerateComplete VllmDialect::CompleteOf(const v1::Finished& finished) {
  vllm_api::GenerateComplete complete;
  if (!streamed_) {
    const v1::Delta& output = outputs_[finished.index()];
    for (const v1::Token& token : output.tokens()) complete.add_output_ids(token.id());
    if (logprobs_) *complete.mutable_output_logprobs() = OutputLogprobs(output);
    if (prompt_logprobs_) *complete.mutable_input_logprobs() = InputLogprobs(output);
    outputs_.erase(finished.index());
  }
  complete.set_index(finished.index());
  complete.set_finish_reason(ReasonOf(finished.reason()));
  complete.set_prompt_tokens(finished.usage().prompt_tokens());
  complete.set_completion_tokens(finished.usage().completion_tokens());
  complete.set_cached_tokens(finished.usage().cached_prompt_tokens());
  if (finished.matched_stop().has_token_id()) {
    complete.set_matched_token_id(finished.matched_stop().token_id());
  } else if (finished.matched_stop().has_text()) {
    complete.set_matched_stop_str(finished.matched_stop().text());
  }
  return complete;
}

}  // namespace skipstone::server
