#include "server/convert.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <type_traits>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/utf8.h"
#include "proto/request_field.h"
#include "server/field_error.h"

namespace skipstone::server {
namespace {

constexpr int kMaxStopStrings = 16;
constexpr int kMaxStopStringBytes = 256;
constexpr int kMaxStopIds = 64;
constexpr int kMaxLogitBias = 1024;
constexpr size_t kMaxMessages = 4096;  // of a chat, also where only its end is kept

absl::Status Invalid(const std::string& message) { return absl::InvalidArgumentError(message); }

absl::Status AtMost(const char* field, int64_t size, int64_t most, const char* unit) {
  if (size <= most) return absl::OkStatus();
  return Invalid(absl::StrFormat("%s: %d %s, the limit is %d", field, size, unit, most));
}

absl::Status IsTokenId(const char* field, uint32_t id, int vocab) {
  if (id < static_cast<uint32_t>(vocab)) return absl::OkStatus();
  return Invalid(
      absl::StrFormat("%s: token id %d is outside the vocabulary of %d", field, id, vocab));
}

auto& MemberOf(EngineRequest& to, auto member) {
  if constexpr (requires { to.sampling.*member; }) {
    return to.sampling.*member;
  } else if constexpr (requires { to.stopping.*member; }) {
    return to.stopping.*member;
  } else {
    return to.output.*member;
  }
}

void Store(auto, EngineRequest&, std::nullptr_t) {}
void Store(auto value, EngineRequest& to, auto member) {
  constexpr double kMany = 1 << 30;  // beyond any context
  auto& place = MemberOf(to, member);
  using T = std::remove_reference_t<decltype(place)>;
  if constexpr (std::is_same_v<T, std::optional<Duration>>) {
    place = std::chrono::milliseconds(static_cast<int64_t>(value));
  } else if constexpr (std::is_same_v<T, int> || std::is_same_v<T, std::optional<int>>) {
    place = static_cast<int>(std::min<double>(value, kMany));
  } else {
    place = static_cast<T>(value);
  }
}

// What SamplingParams has beside the fields of the table.
absl::Status BiasesOf(const v1::Sampling& from, int vocab, SamplingParams& to) {
  to.top_k = std::min(to.top_k, vocab);
  SKIPSTONE_RETURN_IF_ERROR(
      AtMost("sampling.logit_bias", from.logit_bias_size(), kMaxLogitBias, "entries"));
  for (const auto& [id, bias] : from.logit_bias()) {
    SKIPSTONE_RETURN_IF_ERROR(IsTokenId("sampling.logit_bias", id, vocab));
    SKIPSTONE_RETURN_IF_ERROR(CheckField("sampling.logit_bias", bias, {-100, 100}));
    to.logit_bias.emplace_back(id, bias);
  }
  // A protobuf map has no order, and the request must not depend on one.
  std::sort(to.logit_bias.begin(), to.logit_bias.end());
  return absl::OkStatus();
}

absl::Status StopStringsOf(const v1::Stopping& from, StoppingParams& to) {
  SKIPSTONE_RETURN_IF_ERROR(
      AtMost("stopping.stop_strings", from.stop_strings_size(), kMaxStopStrings, "strings"));
  for (const std::string& stop : from.stop_strings()) {
    if (stop.empty()) return Invalid("stopping.stop_strings: an empty string would stop at once");
    SKIPSTONE_RETURN_IF_ERROR(
        AtMost("stopping.stop_strings", stop.size(), kMaxStopStringBytes, "bytes"));
    to.stop_strings.push_back(stop);
  }
  return absl::OkStatus();
}

absl::Status StoppingOf(const v1::Stopping& from, int vocab, StoppingParams& to) {
  if (to.max_tokens && to.min_tokens > *to.max_tokens) {
    return Invalid(absl::StrFormat("stopping.min_tokens: %d is above max_tokens, %d", to.min_tokens,
                                   *to.max_tokens));
  }
  SKIPSTONE_RETURN_IF_ERROR(StopStringsOf(from, to));
  SKIPSTONE_RETURN_IF_ERROR(
      AtMost("stopping.stop_token_ids", from.stop_token_ids_size(), kMaxStopIds, "ids"));
  for (const uint32_t id : from.stop_token_ids()) {
    SKIPSTONE_RETURN_IF_ERROR(IsTokenId("stopping.stop_token_ids", id, vocab));
    to.stop_token_ids.push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

void OutputOf(const v1::Output& from, const Tokenizer& tokenizer, OutputParams& to) {
  if (!from.has_prompt_logprobs() && from.echo()) to.prompt_logprobs = to.logprobs;
  // Where there is no text, ids are all there is to send.
  to.token_texts =
      from.has_token_ids() ? from.token_ids() : from.has_logprobs() || !tokenizer.CheckText().ok();
}

// What a request without text in its prompt may still ask for of text.
absl::Status CheckTexts(const v1::GenerateRequest& request, const Tokenizer& tokenizer) {
  const absl::Status text = tokenizer.CheckText();
  if (text.ok()) return text;
  if (request.stopping().stop_strings_size() > 0) return In("stopping.stop_strings", text);
  return request.output().echo() ? In("output.echo", text) : absl::OkStatus();
}

TokenLimit ContextOf(const PromptRules& rules) {
  return {.tokens = static_cast<size_t>(rules.max_context)};
}

// Of a failed encoding of so many bytes.
absl::Status EncodingError(const std::string& field, size_t bytes, const absl::Status& status,
                           size_t most, const PromptRules& rules) {
  if (!absl::IsOutOfRange(status)) return In(field, status);
  return Invalid(absl::StrFormat("%s: %d bytes are %s, the limit is %d (context of %d tokens)",
                                 field, bytes, std::string(status.message()), most,
                                 rules.max_context));
}

// With the beginning-of-sequence token. `limit.taken` is set here.
absl::StatusOr<std::vector<int32_t>> TextIds(const std::string& text, const std::string& field,
                                             const PromptRules& rules, TokenLimit limit) {
  const auto bos = rules.tokenizer.bos_id();
  limit.taken = bos && !limit.keep_last ? 1 : 0;
  auto ids = rules.tokenizer.Encode(text, limit);
  if (!ids.ok()) return EncodingError(field, text.size(), ids.status(), limit.tokens, rules);
  if (bos && ids->size() < limit.tokens) ids->insert(ids->begin(), *bos);
  return ids;
}

absl::StatusOr<std::vector<int32_t>> GivenIds(const v1::TokenIds& given, const std::string& field,
                                              const PromptRules& rules) {
  std::vector<int32_t> ids;
  ids.reserve(given.ids_size());
  for (const uint32_t id : given.ids()) {
    SKIPSTONE_RETURN_IF_ERROR(IsTokenId(field.c_str(), id, rules.vocab));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// Ids of the request's prompt, truncated as it asks. A text is encoded as far as its tokens can be
// of use, no more than the context or what truncation keeps.
absl::StatusOr<std::vector<int32_t>> PromptIds(const v1::GenerateRequest& request,
                                               const PromptRules& rules) {
  const size_t keep = request.truncate_prompt_tokens();
  const bool truncates = request.has_truncate_prompt_tokens();
  // Room for a token to generate. Truncating to more is as good as not to.
  TokenLimit limit{.tokens = ContextOf(rules).tokens - 1};
  if (truncates && keep <= limit.tokens) limit = {.tokens = keep, .keep_last = true};
  if (request.prompt_case() == v1::GenerateRequest::kText) {
    return request.text().empty() ? Invalid("text: the prompt is empty")
                                  : TextIds(request.text(), "text", rules, limit);
  }
  if (request.prompt_case() == v1::GenerateRequest::kChat) {
    return ChatIds(request.chat(), rules, limit);
  }
  if (request.prompt_case() != v1::GenerateRequest::kTokenIds) {
    return Invalid("prompt: text, token_ids or chat is wanted");
  }
  SKIPSTONE_ASSIGN_OR_RETURN(auto ids, GivenIds(request.token_ids(), "token_ids", rules));
  if (truncates && keep < ids.size()) {
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(keep));
  }
  return ids;
}

v1::FinishReason ReasonOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::STOP;
    case FinishReason::kStopString:
      return v1::STOP_STRING;
    case FinishReason::kMaxTokens:
      return v1::MAX_TOKENS;
    case FinishReason::kContextFull:
      return v1::CONTEXT_FULL;
    case FinishReason::kTimeLimit:
      return v1::TIME_LIMIT;
    case FinishReason::kAborted:
      return v1::ABORTED;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

void SetTiming(const RequestTiming& from, v1::Timing* to) {
  to->set_queue_ms(Milliseconds(from.queue));
  to->set_prefill_ms(Milliseconds(from.prefill));
  to->set_decode_ms(Milliseconds(from.decode));
  to->set_ttft_ms(Milliseconds(from.ttft));
  to->set_e2e_ms(Milliseconds(from.e2e));
  to->set_attributed_ms(Milliseconds(from.attributed));
  to->set_preemptions(from.preemptions);
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ChatIds(const v1::Chat& chat, const PromptRules& rules,
                                             const TokenLimit& limit) {
  // Each costs a token at least.
  const auto most = static_cast<int64_t>(
      std::min<size_t>(limit.keep_last ? kMaxMessages : limit.tokens, kMaxMessages));
  SKIPSTONE_RETURN_IF_ERROR(AtMost("chat.messages", chat.messages_size(), most, "messages"));
  std::vector<ChatTurn> turns;
  size_t bytes = 0;
  for (const v1::ChatMessage& message : chat.messages()) {
    turns.push_back({message.role(), message.content()});
    bytes += message.content().size();
  }
  std::optional<int32_t> eos_id;
  if (!rules.eos_ids.empty()) eos_id = rules.eos_ids.front();
  auto ids = rules.tokenizer.EncodeChat(turns, eos_id, limit);
  if (!ids.ok()) return EncodingError("chat", bytes, ids.status(), limit.tokens, rules);
  return ids;
}

absl::StatusOr<std::vector<int32_t>> TextOrIds(const v1::TextOrIds& value, const std::string& field,
                                               const PromptRules& rules) {
  if (value.kind_case() == v1::TextOrIds::kText) {
    return TextIds(value.text(), field + ".text", rules, ContextOf(rules));
  }
  if (value.kind_case() == v1::TextOrIds::kTokenIds) {
    return GivenIds(value.token_ids(), field + ".token_ids", rules);
  }
  return Invalid(absl::StrFormat("%s: text or token_ids is wanted", field));
}

absl::Status CheckField(const char* path, double value, const FieldLimits& limits) {
  if (limits.Hold(value)) return absl::OkStatus();
  const bool whole = std::abs(value) < 1e15 && value == std::floor(value);
  const std::string text = whole ? absl::StrFormat("%.0f", value) : absl::StrFormat("%g", value);
  if (*limits.unit == '\0') {
    return Invalid(absl::StrFormat("%s: %s is not %s", path, text, limits.ToText()));
  }
  return Invalid(
      absl::StrFormat("%s: %s %s, the limit is %g", path, text, limits.unit, limits.most));
}

absl::Status ReadFields(const v1::GenerateRequest& from, EngineRequest& to) {
  absl::Status status;
  ForEachRequestField([&](const char* path, auto member, const FieldLimits& limits, const char*) {
    const RequestField field(path);
    const auto& message = field.In(from);
    const auto& reflection = *message.GetReflection();
    if (!status.ok() || !reflection.HasField(message, field.field)) return;
    field.Access([&](auto get, auto) {
      const auto value = (reflection.*get)(message, field.field);
      if constexpr (std::is_arithmetic_v<std::decay_t<decltype(value)>>) {
        status = CheckField(path, static_cast<double>(value), limits);
        Store(value, to, member);
      } else {
        status = CheckField(path, static_cast<double>(value.size()), limits);
      }
    });
  });
  return status;
}

absl::StatusOr<EngineRequest> EngineRequestOf(const v1::GenerateRequest& request,
                                              const PromptRules& rules) {
  EngineRequest to;
  SKIPSTONE_RETURN_IF_ERROR(ReadFields(request, to));
  SKIPSTONE_RETURN_IF_ERROR(BiasesOf(request.sampling(), rules.vocab, to.sampling));
  SKIPSTONE_RETURN_IF_ERROR(StoppingOf(request.stopping(), rules.vocab, to.stopping));
  OutputOf(request.output(), rules.tokenizer, to.output);
  SKIPSTONE_RETURN_IF_ERROR(CheckTexts(request, rules.tokenizer));
  // An echo is the text that the output continues.
  to.output.starts_text = request.has_chat() && !request.output().echo();
  if (request.has_n()) to.n = static_cast<int>(request.n());
  to.priority = request.priority();
  to.cache_salt = request.cache_salt();
  // Last, since it costs the most.
  SKIPSTONE_ASSIGN_OR_RETURN(to.prompt, PromptIds(request, rules));
  return to;
}

absl::StatusOr<std::vector<int32_t>> ScoreIds(const v1::ScoreItem& item, const PromptRules& rules,
                                              int* score_from) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<int32_t> ids, TextOrIds(item.prompt(), "prompt", rules));
  *score_from = 1;
  if (item.has_continuation()) {
    const v1::TextOrIds& continuation = item.continuation();
    *score_from = static_cast<int>(ids.size());
    if (continuation.kind_case() == v1::TextOrIds::kTokenIds) {
      SKIPSTONE_ASSIGN_OR_RETURN(
          const auto more, GivenIds(continuation.token_ids(), "continuation.token_ids", rules));
      ids.insert(ids.end(), more.begin(), more.end());
    } else if (continuation.kind_case() == v1::TextOrIds::kText &&
               item.prompt().kind_case() == v1::TextOrIds::kText) {
      SKIPSTONE_ASSIGN_OR_RETURN(
          auto whole, TextIds(item.prompt().text() + continuation.text(),
                              "prompt.text and continuation.text", rules, ContextOf(rules)));
      *score_from = static_cast<int>(ContinuationStart(ids, whole));
      ids = std::move(whole);
    } else if (continuation.kind_case() == v1::TextOrIds::kText) {
      return Invalid("continuation.text: the prompt is given as ids, so give ids here too");
    } else {
      return Invalid("continuation: text or token_ids is wanted");
    }
  }
  if (*score_from < 1) return Invalid("prompt: the first scored token needs one before it");
  if (*score_from >= static_cast<int>(ids.size())) {
    return Invalid(item.has_continuation() ? "continuation: there is no token to score"
                                           : "prompt: there is no token to score after its first");
  }
  return ids;
}

v1::Token TokenOf(GeneratedToken from) {
  v1::Token to;
  to.set_id(from.token.id);
  if (from.token.logprob) to.set_logprob(*from.token.logprob);
  to.set_text(std::move(from.token.text));
  for (TokenText& alternative : from.top) {
    v1::TopToken* top = to.add_top();
    top->set_id(alternative.id);
    top->set_logprob(alternative.logprob.value_or(0));
    top->set_text(std::move(alternative.text));
  }
  return to;
}

void SetDelta(OutputDelta from, bool with_tokens, v1::Delta* to) {
  to->set_index(from.index);
  to->set_text(std::move(from.text));
  if (with_tokens) {
    for (GeneratedToken& token : from.tokens) *to->add_tokens() = TokenOf(std::move(token));
  }
  for (GeneratedToken& token : from.prompt_tokens) {
    *to->add_prompt_tokens() = TokenOf(std::move(token));
  }
}

void AppendDelta(const v1::Delta& more, v1::Delta* to) {
  to->set_index(more.index());
  to->mutable_text()->append(more.text());
  to->mutable_tokens()->MergeFrom(more.tokens());
  to->mutable_prompt_tokens()->MergeFrom(more.prompt_tokens());
}

v1::Finished FinishedOf(const OutputFinished& from) {
  v1::Finished to;
  to.set_index(from.index);
  to.set_reason(ReasonOf(from.reason));
  if (from.stop_token) to.mutable_matched_stop()->set_token_id(*from.stop_token);
  if (from.stop_string) to.mutable_matched_stop()->set_text(*from.stop_string);
  to.mutable_usage()->set_prompt_tokens(from.prompt_tokens);
  to.mutable_usage()->set_completion_tokens(from.completion_tokens);
  to.mutable_usage()->set_cached_prompt_tokens(from.cached_prompt_tokens);
  SetTiming(from.timing, to.mutable_timing());
  to.set_kv_pages_used(from.kv_pages_used);
  to.set_kv_pages_windowed(from.kv_pages_windowed);
  to.set_kv_pages_omitted(from.kv_pages_omitted);
  return to;
}

}  // namespace skipstone::server
