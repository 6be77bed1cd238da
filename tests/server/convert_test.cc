#include "server/convert.h"

#include <cmath>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "tests/server/set_field.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

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
  EXPECT_THAT(to.sampling.logit_bias, IsEmpty());
  EXPECT_EQ(to.n, 1);
  EXPECT_EQ(to.priority, 0);
  EXPECT_EQ(to.cache_salt, "");
}

// Those that are one value: ConvertFieldsTest.
TEST_F(ConvertTest, EveryOtherFieldArrives) {
  v1::GenerateRequest from = Text("1 2 3");
  from.set_truncate_prompt_tokens(2);
  from.set_n(3);
  from.set_priority(-7);
  from.set_cache_salt("salt");
  (*from.mutable_sampling()->mutable_logit_bias())[99] = 2;
  (*from.mutable_sampling()->mutable_logit_bias())[4] = -3;
  from.mutable_stopping()->add_stop_strings("end");
  from.mutable_stopping()->add_stop_token_ids(8);
  const EngineRequest to = Convert(from);
  EXPECT_THAT(to.prompt, ElementsAre(2, 3));
  EXPECT_EQ(to.n, 3);
  EXPECT_EQ(to.priority, -7);
  EXPECT_EQ(to.cache_salt, "salt");
  EXPECT_THAT(to.sampling.logit_bias, ElementsAre(Pair(4, -3.0f), Pair(99, 2.0f)));
  EXPECT_THAT(to.stopping.stop_strings, ElementsAre("end"));
  EXPECT_THAT(to.stopping.stop_token_ids, ElementsAre(8));
  EXPECT_EQ(v1::Finished::descriptor()->field_count(), 9) << "FinishedCarriesEveryNumber";
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

absl::Status Read(const std::string& path, double value) {
  v1::GenerateRequest from;
  SetField(from, path, value);
  EngineRequest to;
  return ReadFields(from, to);
}

TEST(ConvertFieldsTest, TheEndsOfEveryRangeAreTakenAndWhatLiesOutsideIsNot) {
  int refused = 0;
  const auto refuse = [&](const std::string& path, double value) {
    const absl::Status status = Read(path, value);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << " " << value;
    EXPECT_THAT(std::string(status.message()), StartsWith(path + ": "));
    ++refused;
  };
  ForEachRequestField([&](const char* path, auto, const FieldLimits& limits, const char*) {
    const double step = limits.above || limits.most < 5 ? 0.5 : 1;  // floats or whole numbers
    if (std::isfinite(limits.least)) {
      EXPECT_EQ(Read(path, limits.least).ok(), !limits.above) << path;
      refuse(path, limits.least - (limits.above ? 0 : step));
    }
    if (std::isfinite(limits.most)) {
      EXPECT_TRUE(Read(path, limits.most).ok()) << path;
      refuse(path, limits.most + step);
    }
    if (step < 1) refuse(path, std::nan(""));
  });
  EXPECT_GE(refused, 29);
}

TEST(ConvertFieldsTest, ErrorsNameFieldValueAndLimit) {
  EXPECT_EQ(Read("sampling.temperature", 2.5).message(),
            "sampling.temperature: 2.5 is not in [0, 2]");
  EXPECT_EQ(Read("sampling.top_p", 0).message(), "sampling.top_p: 0 is not in (0, 1]");
  EXPECT_EQ(Read("sampling.min_p", INFINITY).message(), "sampling.min_p: inf is not in [0, 1]");
  EXPECT_EQ(Read("sampling.top_p", NAN).message(), "sampling.top_p: nan is not in (0, 1]");
  EXPECT_EQ(Read("stopping.max_tokens", 0).message(), "stopping.max_tokens: 0 is not >= 1");
  EXPECT_EQ(Read("n", 4e9).message(), "n: 4000000000 is not in [1, 16]");
  EXPECT_EQ(Read("output.logprobs", 21).message(),
            "output.logprobs: 21 alternatives, the limit is 20");
  EXPECT_EQ(Read("cache_salt", 257).message(), "cache_salt: 257 bytes, the limit is 256");
}

// Of each group another value than the default, in range.
TEST(ConvertFieldsTest, EveryMemberArrivesAndOnlyWhenGiven) {
  const EngineRequest none;
  EngineRequest all;
  v1::GenerateRequest request;
  ForEachRequestField([&](const char* path, auto, const FieldLimits& limits, const char*) {
    SetField(request, path, limits.most < 2 ? 0.25 : 1.75);
  });
  request.mutable_sampling()->set_seed(0xffffffffffffffffull);
  ASSERT_TRUE(ReadFields(request, all).ok());
  ForEachRequestField([&](const char* path, auto member, const FieldLimits& limits, const char*) {
    const auto compare = [&](const auto& got, const auto& unset) {
      using T = std::decay_t<decltype(got)>;
      EXPECT_NE(got, unset) << path;
      if constexpr (std::is_same_v<T, float>) {
        EXPECT_EQ(got, limits.most < 2 ? 0.25f : 1.75f) << path;
      } else if constexpr (std::is_same_v<T, std::optional<Duration>>) {
        EXPECT_EQ(got, std::chrono::milliseconds(1));
      } else if constexpr (!std::is_same_v<T, uint64_t>) {
        EXPECT_EQ(got, 1) << path;
      }
    };
    if constexpr (requires { all.sampling.*member; }) {
      compare(all.sampling.*member, none.sampling.*member);
    } else if constexpr (requires { all.stopping.*member; }) {
      compare(all.stopping.*member, none.stopping.*member);
    } else if constexpr (requires { all.output.*member; }) {
      compare(all.output.*member, none.output.*member);
    }
  });
  EXPECT_EQ(all.sampling.seed, 0xffffffffffffffffull);
  EngineRequest untouched;
  untouched.sampling.temperature = 0.5f;
  ASSERT_TRUE(ReadFields({}, untouched).ok());
  EXPECT_EQ(untouched.sampling.temperature, 0.5f);
}

// A field of the wire that is one value has a row, or stands here with who reads it.
TEST(ConvertFieldsTest, NoFieldIsForgotten) {
  std::set<std::string> known = {"request_id", "text"};  // admission, convert
  ForEachRequestField([&](const char* path, auto, const FieldLimits&, const char* help) {
    EXPECT_STRNE(help, "") << path;
    EXPECT_TRUE(known.insert(path).second) << path;
  });
  std::set<std::string> fields;
  const auto add = [&](const google::protobuf::Descriptor& message, const std::string& prefix) {
    for (int i = 0; i < message.field_count(); ++i) {
      const google::protobuf::FieldDescriptor& field = *message.field(i);
      const bool one_value = !field.is_repeated() && field.message_type() == nullptr;
      if (one_value) fields.insert(prefix + std::string(field.name()));
    }
  };
  add(*v1::GenerateRequest::descriptor(), "");
  add(*v1::Sampling::descriptor(), "sampling.");
  add(*v1::Stopping::descriptor(), "stopping.");
  add(*v1::Output::descriptor(), "output.");
  EXPECT_EQ(fields, known);
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

TEST_F(ConvertTest, FinishedCarriesEveryNumber) {
  using std::chrono::milliseconds;
  OutputFinished from{.index = 2, .reason = FinishReason::kStop, .stop_token = 9};
  from.prompt_tokens = 10;
  from.completion_tokens = 11;
  from.cached_prompt_tokens = 8;
  from.kv_pages_used = 12;
  from.kv_pages_windowed = 17;
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
  EXPECT_EQ(to.kv_pages_windowed(), 17u);
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
