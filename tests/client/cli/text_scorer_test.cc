#include "client/cli/text_scorer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/cli/text_tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace skipstone::client {
namespace {

using testing::ElementsAre;

constexpr uint32_t kBos = 1;

// A model of context `context`; each character of a text is a token, a scored token costs id nats.
class TextScorerTest : public testing::Test {
 protected:
  void Serve(uint32_t context, bool has_bos) {
    server_.Answer<v1::GetModelRequest, v1::GetModelResponse>([=](const auto&, auto& model) {
      model.set_max_context_tokens(context);
      if (has_bos) model.set_bos_token_id(kBos);
    });
    server_.Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
        [](const auto& request, auto& response) {
          EXPECT_FALSE(request.add_special_tokens());
          for (const char c : request.text()) response.add_ids(c - '0');
        });
    server_.Answer<v1::ScoreRequest, v1::ScoreResponse>(
        [this](const auto& request, auto& answer) { ScoreAll(request, answer); });
  }

  void ScoreAll(const v1::ScoreRequest& request, v1::ScoreResponse& answer) {
    items_per_call_.push_back(request.items_size());
    largest_request_ = std::max(largest_request_, request.ByteSizeLong());
    answer.mutable_applied_skip()->set_spec("attn:" + request.skip().level());
    for (const v1::ScoreItem& item : request.items()) {
      const auto& ids = item.prompt().token_ids().ids();
      windows_.emplace_back(ids.begin(), ids.end());
      v1::ScoreResult& result = *answer.add_results();
      result.set_kv_pages_used(3);
      result.set_kv_pages_windowed(2);
      result.set_kv_pages_omitted(1);
      for (int i = 1; i < ids.size(); ++i) {
        v1::Token& token = *result.add_tokens();
        token.set_id(ids[i]);
        result.set_logprob_sum(result.logprob_sum() - ids[i]);
      }
    }
  }

  absl::StatusOr<TextScore> Score(const std::string& text, uint32_t window) {
    v1::Skip skip;
    skip.set_level("7");
    const Client client(server_.address());
    return TextScorer(client, CallOptions()).Score(text, skip, window, [this](const v1::Token& t) {
      seen_.push_back(t.id());
    });
  }

  // Before the server, whose threads write them.
  std::vector<std::vector<uint32_t>> windows_;
  std::vector<int> items_per_call_;
  size_t largest_request_ = 0;
  std::vector<uint32_t> seen_;
  ScriptedServer server_;
};

TEST_F(TextScorerTest, EveryTokenIsScoredAfterTheBeginningOfSequence) {
  Serve(/*context=*/100, /*has_bos=*/true);
  const auto score = Score("23456", 3);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_THAT(windows_, ElementsAre(ElementsAre(1, 2, 3), ElementsAre(1, 4, 5), ElementsAre(1, 6)));
  EXPECT_THAT(seen_, ElementsAre(2, 3, 4, 5, 6));
  EXPECT_EQ(score->scored_tokens, 5);
  EXPECT_EQ(score->windows, 3);
  EXPECT_EQ(score->window_tokens, 3);
  EXPECT_EQ(score->logprob_sum, -20);
  EXPECT_EQ(score->NatsPerToken(), 4);
  EXPECT_DOUBLE_EQ(score->Perplexity(), std::exp(4));
  EXPECT_EQ(score->kv_pages_used, 9);
  EXPECT_EQ(score->kv_pages_windowed, 6);
  EXPECT_EQ(score->kv_pages_omitted, 3);
  EXPECT_EQ(score->skip, "attn:7");
}

TEST_F(TextScorerTest, WithoutItTheFirstTokenOfAWindowIsNotScored) {
  Serve(/*context=*/100, /*has_bos=*/false);
  const auto score = Score("23456", 2);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_THAT(windows_, ElementsAre(ElementsAre(2, 3), ElementsAre(4, 5)));
  EXPECT_THAT(seen_, ElementsAre(3, 5));
}

TEST_F(TextScorerTest, WindowsFitTheContext) {
  Serve(/*context=*/4, /*has_bos=*/true);
  const auto score = Score("234567", 1000);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_THAT(windows_, ElementsAre(ElementsAre(1, 2, 3, 4), ElementsAre(1, 5, 6, 7)));
  EXPECT_EQ(score->window_tokens, 4);
}

TEST_F(TextScorerTest, LongTextsTakeSeveralCalls) {
  Serve(/*context=*/2, /*has_bos=*/true);
  const auto score = Score(std::string(35, '2'), 2);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->windows, 35);
  EXPECT_EQ(score->scored_tokens, 35);
  EXPECT_THAT(items_per_call_, ElementsAre(16, 16, 3));
}

TEST_F(TextScorerTest, CallsOfLongWindowsAreBoundedInBytes) {
  Serve(/*context=*/30'000, /*has_bos=*/true);
  const Client client(server_.address());
  const std::vector<uint32_t> ids(200'000, 4'000'000'000);  // five bytes each
  const auto score = TextScorer(client, CallOptions()).ScoreIds(ids, {}, 30'000, nullptr);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->windows, 7);
  EXPECT_EQ(score->scored_tokens, ids.size());
  EXPECT_THAT(items_per_call_, ElementsAre(2, 2, 2, 1));
  EXPECT_LT(largest_request_, 1 << 20);
}

TEST_F(TextScorerTest, AWindowThatIsLargeByItselfIsOneCall) {
  Serve(/*context=*/100'000, /*has_bos=*/true);
  const Client client(server_.address());
  const std::vector<uint32_t> ids(150'000, 7);
  ASSERT_TRUE(TextScorer(client, CallOptions()).ScoreIds(ids, {}, 100'000, nullptr).ok());
  EXPECT_THAT(items_per_call_, ElementsAre(1, 1));
}

TEST_F(TextScorerTest, TextsAboveOneCallAreTokenizedInParts) {
  Serve(/*context=*/50'000, /*has_bos=*/true);
  std::string text;
  while (text.size() < 2 * TextTokenizer::kBytesPerCall) text += "23";
  const auto score = Score(text, 50'000);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->scored_tokens, text.size());
  EXPECT_EQ(score->logprob_sum, -2.5 * text.size());
}

TEST_F(TextScorerTest, IdsAreScoredLikeTheirText) {
  Serve(/*context=*/100, /*has_bos=*/true);
  const Client client(server_.address());
  const TextScorer scorer(client, CallOptions());
  for (const std::vector<uint32_t>& ids :
       {std::vector<uint32_t>{2, 3, 4, 5, 6}, std::vector<uint32_t>{kBos, 2, 3, 4, 5, 6}}) {
    windows_.clear();
    const auto score = scorer.ScoreIds(ids, {}, 3, nullptr);
    ASSERT_TRUE(score.ok()) << score.status();
    EXPECT_THAT(windows_,
                ElementsAre(ElementsAre(1, 2, 3), ElementsAre(1, 4, 5), ElementsAre(1, 6)));
    EXPECT_EQ(score->logprob_sum, -20);
  }
  EXPECT_EQ(scorer.ScoreIds({kBos}, {}, 3, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(TextScorerTest, SaysHowFarItIsAfterEachCall) {
  Serve(/*context=*/2, /*has_bos=*/true);
  const Client client(server_.address());
  TextScorer scorer(client, CallOptions());
  std::vector<std::pair<uint64_t, uint64_t>> seen;
  scorer.SetOnProgress([&](uint64_t done, uint64_t all) { seen.emplace_back(done, all); });
  ASSERT_TRUE(scorer.ScoreIds(std::vector<uint32_t>(35, 2), {}, 2, nullptr).ok());
  EXPECT_THAT(seen, ElementsAre(std::pair(16, 35), std::pair(32, 35), std::pair(35, 35)));
}

TEST_F(TextScorerTest, EachCallIsRetriedByItself) {
  Serve(/*context=*/2, /*has_bos=*/true);
  int calls = 0;
  server_.Handle<v1::ScoreRequest, v1::ScoreResponse>(
      [&](grpc::ServerContext& context, const auto& request, auto& answer) {
        if (++calls % 2 == 0) {
          ScoreAll(request, answer);
          return grpc::Status::OK;
        }
        context.AddTrailingMetadata("grpc-retry-pushback-ms", "0");
        return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
      });
  const auto score = Score(std::string(35, '2'), 2);
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_EQ(score->scored_tokens, 35);
  EXPECT_THAT(items_per_call_, ElementsAre(16, 16, 3));
}

TEST_F(TextScorerTest, ErrorsOfEachCallEndIt) {
  Serve(/*context=*/100, /*has_bos=*/true);
  server_.FailNext(grpc::StatusCode::INTERNAL);
  EXPECT_EQ(Score("2", 10).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Score("", 10).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Score("2", 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(windows_.empty());
  server_.Handle<v1::ScoreRequest, v1::ScoreResponse>([](grpc::ServerContext&, const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no level 7");
  });
  EXPECT_EQ(Score("2", 10).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(seen_.empty());
}

}  // namespace
}  // namespace skipstone::client
