// vLLM's requests as ours, field by field.
#include "server/vllm/vllm_dialect.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr PromptForm kForm{.bos_id = 1, .max_context = 64};

vllm_api::GenerateRequest PlainRequest(const std::vector<uint32_t>& ids = {1, 5}) {
  vllm_api::GenerateRequest request;
  for (const uint32_t id : ids) request.mutable_tokenized()->add_input_ids(id);
  return request;
}

v1::GenerateRequest Read(const vllm_api::GenerateRequest& from, const PromptForm& form = kForm) {
  const auto request = OurRequest(from, form);
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *request : v1::GenerateRequest();
}

TEST(VllmDialectTest, WhatIsUnsetStaysUnset) {
  const v1::GenerateRequest request = Read(PlainRequest());
  EXPECT_EQ(request.sampling().ByteSizeLong(), 0);
  EXPECT_FALSE(request.stopping().has_max_tokens() || request.stopping().has_min_tokens());
  EXPECT_FALSE(request.has_n() || request.has_truncate_prompt_tokens() || request.has_skip());
  EXPECT_FALSE(request.output().has_logprobs() || request.output().has_prompt_logprobs());
  EXPECT_TRUE(request.output().token_ids());
  EXPECT_TRUE(request.stopping().include_stop()) << "who joins the text cuts it off";
}

TEST(VllmDialectTest, EveryFieldIsOurs) {
  vllm_api::GenerateRequest from = PlainRequest();
  vllm_api::SamplingParams& params = *from.mutable_sampling_params();
  params.set_temperature(0);
  params.set_top_p(0.5);
  params.set_top_k(7);
  params.set_min_p(0.1);
  params.set_frequency_penalty(-1);
  params.set_presence_penalty(2);
  params.set_repetition_penalty(1.5);
  params.set_max_tokens(9);
  params.set_min_tokens(3);
  params.add_stop("end");
  params.add_stop_token_ids(8);
  params.set_ignore_eos(true);
  params.set_n(2);
  params.set_logprobs(0);
  params.set_prompt_logprobs(4);
  params.set_seed(-1);
  (*params.mutable_logit_bias())[5] = 1.5;
  params.set_truncate_prompt_tokens(6);
  const v1::GenerateRequest request = Read(from);
  const v1::Sampling& sampling = request.sampling();
  EXPECT_TRUE(sampling.has_temperature());
  EXPECT_EQ(sampling.temperature(), 0);
  EXPECT_EQ(sampling.top_p(), 0.5);
  EXPECT_EQ(sampling.top_k(), 7);
  EXPECT_EQ(sampling.min_p(), 0.1f);
  EXPECT_EQ(sampling.frequency_penalty(), -1);
  EXPECT_EQ(sampling.presence_penalty(), 2);
  EXPECT_EQ(sampling.repetition_penalty(), 1.5);
  EXPECT_EQ(sampling.seed(), ~uint64_t{0});
  EXPECT_EQ(sampling.logit_bias().at(5), 1.5);
  EXPECT_EQ(request.stopping().max_tokens(), 9);
  EXPECT_EQ(request.stopping().min_tokens(), 3);
  EXPECT_THAT(request.stopping().stop_strings(), ElementsAre("end"));
  EXPECT_THAT(request.stopping().stop_token_ids(), ElementsAre(8));
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_EQ(request.n(), 2);
  EXPECT_TRUE(request.output().has_logprobs());
  EXPECT_EQ(request.output().logprobs(), 0);
  EXPECT_EQ(request.output().prompt_logprobs(), 4);
  EXPECT_EQ(request.truncate_prompt_tokens(), 6);
}

TEST(VllmDialectTest, IdsBeginWithTheTokenThatTextsDo) {
  EXPECT_THAT(Read(PlainRequest({5, 6})).token_ids().ids(), ElementsAre(1, 5, 6));
  EXPECT_THAT(Read(PlainRequest({1, 5})).token_ids().ids(), ElementsAre(1, 5))
      << "a chat's template";
  EXPECT_THAT(Read(PlainRequest({5}), {.max_context = 64}).token_ids().ids(), ElementsAre(5));
  vllm_api::GenerateRequest none;
  none.mutable_tokenized();
  EXPECT_THAT(Read(none).token_ids().ids(), IsEmpty()) << "an empty prompt is refused as such";
}

TEST(VllmDialectTest, ATextIsAText) {
  vllm_api::GenerateRequest from;
  from.set_text("In");
  EXPECT_EQ(Read(from).text(), "In");
}

TEST(VllmDialectTest, TruncatesToTheContext) {
  vllm_api::GenerateRequest from = PlainRequest();
  from.mutable_sampling_params()->set_truncate_prompt_tokens(-1);
  EXPECT_EQ(Read(from).truncate_prompt_tokens(), 63) << "with room for a token";
}

TEST(VllmDialectTest, WhatIsNotServedIsRefusedByName) {
  using Request = vllm_api::GenerateRequest;
  const std::vector<std::pair<std::string, std::function<void(Request&)>>> kCases = {
      {"kv_transfer_params:", [](Request& r) { r.mutable_kv_transfer_params(); }},
      {"kv_transfer_params_json:", [](Request& r) { r.set_kv_transfer_params_json("{}"); }},
      {"mm_inputs:", [](Request& r) { r.mutable_mm_inputs(); }},
      {"extra_mm_inputs:", [](Request& r) { r.add_extra_mm_inputs(); }},
      {"media_refs:", [](Request& r) { r.mutable_media_refs(); }},
      {"data_parallel_rank: 1", [](Request& r) { r.set_data_parallel_rank(1); }},
      {"sampling_params.json_schema:",
       [](Request& r) { r.mutable_sampling_params()->set_json_schema("{}"); }},
      {"sampling_params.regex:", [](Request& r) { r.mutable_sampling_params()->set_regex("a"); }},
      {"sampling_params.grammar:",
       [](Request& r) { r.mutable_sampling_params()->set_grammar("a"); }},
      {"sampling_params.structural_tag:",
       [](Request& r) { r.mutable_sampling_params()->set_structural_tag("a"); }},
      {"sampling_params.json_object:",
       [](Request& r) { r.mutable_sampling_params()->set_json_object(true); }},
      {"sampling_params.choice:",
       [](Request& r) { r.mutable_sampling_params()->mutable_choice(); }},
      {"sampling_params.logprobs: -1",
       [](Request& r) { r.mutable_sampling_params()->set_logprobs(-1); }},
      {"sampling_params.prompt_logprobs: -1",
       [](Request& r) { r.mutable_sampling_params()->set_prompt_logprobs(-1); }},
      {"sampling_params.truncate_prompt_tokens: -2",
       [](Request& r) { r.mutable_sampling_params()->set_truncate_prompt_tokens(-2); }},
      {"sampling_params.logit_bias: -3",
       [](Request& r) { (*r.mutable_sampling_params()->mutable_logit_bias())[-3] = 1; }},
      {"input: ", [](Request& r) { r.clear_input(); }},
  };
  for (const auto& [message, change] : kCases) {
    Request from = PlainRequest();
    change(from);
    const absl::Status status = OurRequest(from, kForm).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace skipstone::server
