#include "server/convert.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr int kVocab = 100;

class ConvertTest : public testing::Test {
 protected:
  EngineRequest Convert(const v1::GenerateRequest& request) {
    auto converted = EngineRequestOf(request, rules_);
    EXPECT_TRUE(converted.ok()) << converted.status();
    return *std::move(converted);
  }
  std::vector<int32_t> Score(const v1::ScoreItem& item, int* from) {
    const auto ids = ScoreIds(item, rules_, from);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.value_or(std::vector<int32_t>());
  }
  std::string ScoreError(const v1::ScoreItem& item) {
    int from = 0;
    const auto ids = ScoreIds(item, rules_, &from);
    EXPECT_TRUE(absl::IsInvalidArgument(ids.status()));
    return std::string(ids.status().message());
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = MakeSyntheticTokenizer(kVocab);
  const std::vector<int32_t> eos_ids_ = {9};
  const PromptRules rules_{*tokenizer_, eos_ids_, kVocab};
};

v1::GenerateRequest Text(const std::string& text) {
  v1::GenerateRequest request;
  request.set_text(text);
  return request;
}

TEST_F(ConvertTest, WithoutFieldsTheDefaultsOfTheContractHold) {
  const EngineRequest to = Convert(Text("1 2"));
  EXPECT_THAT(to.prompt, ElementsAre(1, 2));
  EXPECT_EQ(to.sampling.temperature, 1.0f);
  EXPECT_EQ(to.sampling.top_p, 1.0f);
  EXPECT_EQ(to.sampling.top_k, 0);
  EXPECT_EQ(to.sampling.min_p, 0.0f);
  EXPECT_EQ(to.sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(to.sampling.presence_penalty, 0.0f);
  EXPECT_EQ(to.sampling.frequency_penalty, 0.0f);
  EXPECT_THAT(to.sampling.logit_bias, IsEmpty());
  EXPECT_EQ(to.stopping.max_tokens, std::nullopt);
  EXPECT_EQ(to.stopping.min_tokens, 0);
  EXPECT_FALSE(to.stopping.ignore_eos);
  EXPECT_FALSE(to.stopping.include_stop);
  EXPECT_EQ(to.stopping.time_limit, std::nullopt);
  EXPECT_EQ(to.output.logprobs, -1);
  EXPECT_EQ(to.output.prompt_logprobs, -1);
  EXPECT_EQ(to.n, 1);
  EXPECT_EQ(to.priority, 0);
  EXPECT_EQ(to.cache_salt, "");
}

TEST_F(ConvertTest, EveryFieldArrives) {
  v1::GenerateRequest from = Text("1 2 3");
  from.set_truncate_prompt_tokens(2);
  from.set_n(3);
  from.set_priority(-7);
  from.set_cache_salt("salt");
  v1::Sampling& sampling = *from.mutable_sampling();
  sampling.set_temperature(0.5f);
  sampling.set_top_p(0.75f);
  sampling.set_top_k(40);
  sampling.set_min_p(0.125f);
  sampling.set_repetition_penalty(1.5f);
  sampling.set_presence_penalty(-0.5f);
  sampling.set_frequency_penalty(0.25f);
  sampling.set_seed(0xffffffffffffffffull);
  (*sampling.mutable_logit_bias())[99] = 2;
  (*sampling.mutable_logit_bias())[4] = -3;
  v1::Stopping& stopping = *from.mutable_stopping();
  stopping.set_max_tokens(20);
  stopping.set_min_tokens(5);
  stopping.add_stop_strings("end");
  stopping.add_stop_token_ids(8);
  stopping.set_ignore_eos(true);
  stopping.set_include_stop(true);
  stopping.set_time_limit_ms(1500);
  from.mutable_output()->set_logprobs(4);
  from.mutable_output()->set_prompt_logprobs(0);

  const EngineRequest to = Convert(from);
  EXPECT_THAT(to.prompt, ElementsAre(2, 3));
  EXPECT_EQ(to.n, 3);
  EXPECT_EQ(to.priority, -7);
  EXPECT_EQ(to.cache_salt, "salt");
  EXPECT_EQ(to.sampling.temperature, 0.5f);
  EXPECT_EQ(to.sampling.top_p, 0.75f);
  EXPECT_EQ(to.sampling.top_k, 40);
  EXPECT_EQ(to.sampling.min_p, 0.125f);
  EXPECT_EQ(to.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(to.sampling.presence_penalty, -0.5f);
  EXPECT_EQ(to.sampling.frequency_penalty, 0.25f);
  EXPECT_EQ(to.sampling.seed, 0xffffffffffffffffull);
  EXPECT_THAT(to.sampling.logit_bias, ElementsAre(Pair(4, -3.0f), Pair(99, 2.0f)));
  EXPECT_EQ(to.stopping.max_tokens, 20);
  EXPECT_EQ(to.stopping.min_tokens, 5);
  EXPECT_THAT(to.stopping.stop_strings, ElementsAre("end"));
  EXPECT_THAT(to.stopping.stop_token_ids, ElementsAre(8));
  EXPECT_TRUE(to.stopping.ignore_eos);
  EXPECT_TRUE(to.stopping.include_stop);
  EXPECT_EQ(to.stopping.time_limit, std::chrono::milliseconds(1500));
  EXPECT_EQ(to.output.logprobs, 4);
  EXPECT_EQ(to.output.prompt_logprobs, 0);
}

// A field that is added to the wire is added to the test above, or to those of the handlers.
TEST_F(ConvertTest, NoFieldIsForgotten) {
  EXPECT_EQ(v1::GenerateRequest::descriptor()->field_count(), 13);
  EXPECT_EQ(v1::Sampling::descriptor()->field_count(), 9);
  EXPECT_EQ(v1::Stopping::descriptor()->field_count(), 7);
  EXPECT_EQ(v1::Output::descriptor()->field_count(), 4);
  EXPECT_EQ(v1::Finished::descriptor()->field_count(), 8);
}

TEST_F(ConvertTest, EchoWithLogprobsMeansThoseOfThePromptToo) {
  v1::GenerateRequest from = Text("1 2");
  from.mutable_output()->set_echo(true);
  EXPECT_EQ(Convert(from).output.prompt_logprobs, -1);
  from.mutable_output()->set_logprobs(3);
  EXPECT_EQ(Convert(from).output.prompt_logprobs, 3);
  from.mutable_output()->set_prompt_logprobs(1);
  EXPECT_EQ(Convert(from).output.prompt_logprobs, 1);
}

TEST_F(ConvertTest, HugeValuesStayWithinAnInt) {
  v1::GenerateRequest from = Text("1 2");
  from.mutable_stopping()->set_max_tokens(0xffffffff);
  from.mutable_stopping()->set_min_tokens(0xffffffff);
  from.mutable_sampling()->set_top_k(0xffffffff);
  const EngineRequest to = Convert(from);
  EXPECT_GT(*to.stopping.max_tokens, 1000000);
  EXPECT_GT(to.stopping.min_tokens, 1000000);
  EXPECT_EQ(to.sampling.top_k, kVocab);
}

v1::ScoreItem Item(const std::string& prompt) {
  v1::ScoreItem item;
  item.mutable_prompt()->set_text(prompt);
  return item;
}

TEST_F(ConvertTest, ScoreIdsPartPromptAndContinuation) {
  int from = 0;
  v1::ScoreItem item = Item("1 2 3");
  EXPECT_THAT(Score(item, &from), ElementsAre(1, 2, 3));
  EXPECT_EQ(from, 1) << "all but the first";
  item.mutable_continuation()->set_text(" 4 5");
  EXPECT_THAT(Score(item, &from), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(from, 3);
  // "3" and "4" join to one token, which then is part of what is scored.
  item.mutable_continuation()->set_text("4 5");
  EXPECT_THAT(Score(item, &from), ElementsAre(1, 2, 34, 5));
  EXPECT_EQ(from, 2);
  item.mutable_continuation()->mutable_token_ids()->add_ids(7);
  EXPECT_THAT(Score(item, &from), ElementsAre(1, 2, 3, 7));
  EXPECT_EQ(from, 3);
}

TEST_F(ConvertTest, ScoreIdsNameTheField) {
  EXPECT_THAT(ScoreError({}), HasSubstr("prompt: text or token_ids"));
  EXPECT_THAT(ScoreError(Item("1")), HasSubstr("no token to score"));
  v1::ScoreItem item = Item("1");
  item.mutable_continuation();
  EXPECT_THAT(ScoreError(item), HasSubstr("continuation: text or token_ids"));
  item.mutable_continuation()->set_text("");
  EXPECT_THAT(ScoreError(item), HasSubstr("no token to score"));
  item = Item("");
  item.mutable_continuation()->set_text("1 2");
  EXPECT_THAT(ScoreError(item), HasSubstr("the first scored token needs one before it"));
  item.mutable_prompt()->mutable_token_ids()->add_ids(1);
  EXPECT_THAT(ScoreError(item), HasSubstr("the prompt is given as ids"));
  item.mutable_continuation()->mutable_token_ids()->add_ids(kVocab);
  EXPECT_THAT(ScoreError(item), HasSubstr("continuation.token_ids: token id 100"));
}

TEST_F(ConvertTest, ChatNeedsALegalConversation) {
  v1::Chat chat;
  const auto add = [&](const std::string& role) {
    v1::ChatMessage* message = chat.add_messages();
    message->set_role(role);
    message->set_content("1");
  };
  EXPECT_TRUE(absl::IsInvalidArgument(ChatIds(chat, rules_).status())) << "no message";
  add("user");
  EXPECT_TRUE(ChatIds(chat, rules_).ok());
  add("assistant");
  EXPECT_TRUE(absl::IsInvalidArgument(ChatIds(chat, rules_).status())) << "ends with the assistant";
  add("system");
  EXPECT_TRUE(absl::IsInvalidArgument(ChatIds(chat, rules_).status())) << "system comes first";
}

TEST_F(ConvertTest, AppliedSkipListsTheLayers) {
  SkipSet skip(4);
  skip.SkipAttention(2);
  skip.SkipAttention(3);
  skip.SkipMlp(0);
  const v1::AppliedSkip applied = AppliedSkipOf({"deep", skip}, "e", "a");
  EXPECT_EQ(applied.level(), "deep");
  EXPECT_EQ(applied.spec(), "attn:2-3+mlp:0");
  EXPECT_EQ(applied.skip_id(), skip.id());
  EXPECT_THAT(applied.layers().attention(), ElementsAre(2, 3));
  EXPECT_THAT(applied.layers().mlp(), ElementsAre(0));
  EXPECT_EQ(applied.experiment() + "/" + applied.arm(), "e/a");
}

TEST_F(ConvertTest, FinishedCarriesEveryNumber) {
  using std::chrono::milliseconds;
  OutputFinished from{.index = 2, .reason = FinishReason::kStop, .stop_token = 9};
  from.prompt_tokens = 10;
  from.completion_tokens = 11;
  from.cached_prompt_tokens = 8;
  from.kv_pages_used = 12;
  from.kv_pages_omitted = 13;
  from.timing = {milliseconds(1),
                 milliseconds(2),
                 milliseconds(3),
                 milliseconds(4),
                 milliseconds(5),
                 milliseconds(6),
                 7};
  const v1::Finished to = FinishedOf(from);
  EXPECT_EQ(to.index(), 2u);
  EXPECT_EQ(to.reason(), v1::STOP);
  EXPECT_EQ(to.matched_stop().token_id(), 9u);
  EXPECT_EQ(to.usage().prompt_tokens(), 10u);
  EXPECT_EQ(to.usage().completion_tokens(), 11u);
  EXPECT_EQ(to.usage().cached_prompt_tokens(), 8u);
  EXPECT_EQ(to.kv_pages_used(), 12u);
  EXPECT_EQ(to.kv_pages_omitted(), 13u);
  EXPECT_EQ(to.timing().queue_ms(), 1);
  EXPECT_EQ(to.timing().prefill_ms(), 2);
  EXPECT_EQ(to.timing().decode_ms(), 3);
  EXPECT_EQ(to.timing().ttft_ms(), 4);
  EXPECT_EQ(to.timing().e2e_ms(), 5);
  EXPECT_EQ(to.timing().attributed_ms(), 6);
  EXPECT_EQ(to.timing().preemptions(), 7u);
  const std::pair<FinishReason, v1::FinishReason> reasons[] = {
      {FinishReason::kStop, v1::STOP},
      {FinishReason::kStopString, v1::STOP_STRING},
      {FinishReason::kMaxTokens, v1::MAX_TOKENS},
      {FinishReason::kContextFull, v1::CONTEXT_FULL},
      {FinishReason::kTimeLimit, v1::TIME_LIMIT},
      {FinishReason::kAborted, v1::ABORTED}};
  for (const auto& [reason, wire] : reasons) {
    EXPECT_EQ(FinishedOf({.reason = reason}).reason(), wire);
  }
}

}  // namespace
}  // namespace skipstone::server
