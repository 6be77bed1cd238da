// A levels file with maps, from disk to the answers of the real server.
#include <grpcpp/grpcpp.h>

#include <bit>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/levels/levels_file.h"
#include "engine/make_backend.h"
#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_levels.h"

namespace skipstone {
namespace {

constexpr int kLayers = 12;
constexpr int kHidden = 256;
constexpr int kVocab = 2048;

class LevelsFileTest : public testing::Test {
 protected:
  LevelsFileTest() {
    const auto model = LoadModel(DemoModelDir(), {.backend = "cpu"});
    EXPECT_TRUE(model.ok()) << model.status();
    levels_.file.model_fingerprint = model->fingerprint;
    levels_.Add("small", "attn:10-11", "suffix", "diag").quality = TestQuality(0.5);
    levels_.Add("large", "attn:8-11", "suffix", "diag").quality = TestQuality(0.75);
    levels_.Add("rank", "attn:9-11+mlp:11", "rank", "rank=4");
    levels_.Add("free", "attn:3,7+mlp:5", "free", "bias");
    levels_.Add("zero", "attn:10-11", "zero", "full", /*most=*/0);
    const std::string path = dir_.path() + "/levels.yaml";
    EXPECT_TRUE(WriteLevelsFile(levels_.file, path).ok());
    flags_ = {"--model=" + DemoModelDir(), "--levels=" + path,
              "--config=" + dir_.Write("config.yaml",
                                       "levels: {full: none, plain: 'attn:10-11', "
                                       "mine: 'attn:last=2@diag'}\n")};
  }
  void Start(const std::vector<std::string>& more) {
    flags_.insert(flags_.end(), more.begin(), more.end());
    server_ = ServerProcess::Start(flags_);
    ASSERT_NE(server_, nullptr);
    stub_ = Connect(server_->grpc_address());
  }
  const SkipSet& SkipOf(const std::string& name) const {
    for (const CalibratedLevel& level : levels_.file.levels) {
      if (level.name == name) return level.skip;
    }
    static const SkipSet kNone(kLayers);
    return kNone;
  }
  // Log-probabilities of `output` after `prompt`, at this level.
  std::vector<float> Score(const std::string& level, const v1::TokenIds& prompt,
                           const v1::TokenIds& output) {
    v1::ScoreRequest request;
    request.mutable_skip()->set_level(level);
    v1::ScoreItem* const item = request.add_items();
    *item->mutable_prompt()->mutable_token_ids() = prompt;
    *item->mutable_continuation()->mutable_token_ids() = output;
    grpc::ClientContext context;
    v1::ScoreResponse response;
    const grpc::Status status = stub_->Score(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.applied_skip().level(), level);
    std::vector<float> logprobs;
    for (const v1::Token& token : response.results(0).tokens()) logprobs.push_back(token.logprob());
    return logprobs;
  }

  TempDir dir_;
  TestLevels levels_{0, kLayers, kHidden};
  std::vector<std::string> flags_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

v1::GenerateRequest AtLevel(v1::GenerateRequest request, const std::string& level,
                            const std::string& salt = "") {
  request.mutable_skip()->set_level(level);
  request.set_cache_salt(salt);
  return request;
}

TEST_F(LevelsFileTest, RequestsOfAllLevelsTogetherAnswerAsEachAlone) {
  Start({"--kv_pages=4000"});
  const std::vector<std::string> levels = {"full",  "small", "plain", "rank",
                                           "large", "free",  "zero",  "mine"};
  std::vector<v1::GenerateRequest> requests = RandomRequests(24, {"none"}, kVocab, /*seed=*/5);
  for (size_t i = 0; i < requests.size(); ++i) {
    // Some share their first pages with others of another level.
    if (i % 3 == 2) *requests[i].mutable_token_ids() = requests[i - 1].token_ids();
    requests[i] = AtLevel(requests[i], levels[i % levels.size()]);
  }
  const auto together = GenerateAll(*stub_, requests, std::vector<int>(requests.size(), 0));
  for (size_t i = 0; i < requests.size(); ++i) {
    const std::string& level = requests[i].skip().level();
    SCOPED_TRACE(absl::StrFormat("%d %s", i, level));
    const std::string alone = absl::StrFormat("alone %d", i);
    EXPECT_EQ(Bits(together[i]), Bits(Generate(*stub_, AtLevel(requests[i], level, alone))));
    const v1::AppliedSkip& applied = together[i].accepted().applied_skip();
    EXPECT_EQ(applied.level(), level);
    const SkipSet& skip = SkipOf(level == "mine" ? "small" : level);
    EXPECT_EQ(applied.has_compensation(), skip.HasMaps());
    if (!skip.HasMaps()) continue;
    EXPECT_EQ(applied.compensation().hash(), absl::StrFormat("%016x", skip.maps_hash()));
    EXPECT_EQ(applied.skip_id(), skip.id());
    EXPECT_EQ(applied.spec(), skip.ToString());
  }
}

TEST_F(LevelsFileTest, MapsActAndCostNoPages) {
  Start({"--kv_pages=4000"});
  const v1::GenerateRequest request = RandomRequests(1, {"none"}, kVocab, /*seed=*/9)[0];
  const auto at = [&](const std::string& level) {
    return Generate(*stub_, AtLevel(request, level, level));
  };
  const v1::GenerateResponse plain = at("plain");
  const v1::GenerateResponse small = at("small");
  EXPECT_NE(Bits(small), Bits(plain));
  EXPECT_NE(Bits(small), Bits(at("full")));
  EXPECT_EQ(Bits(at("mine")), Bits(small)) << "SPEC@NAME takes the same maps";
  EXPECT_EQ(Bits(at("zero")), Bits(plain)) << "maps of zeros are the identity";
  EXPECT_EQ(small.outputs(0).finished().kv_pages_used(),
            plain.outputs(0).finished().kv_pages_used());
  EXPECT_EQ(small.outputs(0).finished().kv_pages_omitted(),
            plain.outputs(0).finished().kv_pages_omitted());
}

TEST_F(LevelsFileTest, ASuffixSharesPrefixPagesWithTheFullModel) {
  Start({"--kv_pages=4000"});
  v1::GenerateRequest request = RandomRequests(1, {"none"}, kVocab, /*seed=*/3)[0];
  request.mutable_token_ids()->clear_ids();
  for (int i = 0; i < 70; ++i) request.mutable_token_ids()->add_ids(3 + 29 * i);
  Generate(*stub_, AtLevel(request, "full"));
  const v1::GenerateResponse shared = Generate(*stub_, AtLevel(request, "small"));
  EXPECT_EQ(shared.accepted().cached_prompt_tokens(), 64u);
  EXPECT_EQ(Bits(shared), Bits(Generate(*stub_, AtLevel(request, "small", "alone"))));
  const v1::GenerateResponse apart = Generate(*stub_, AtLevel(request, "free"));
  EXPECT_EQ(apart.accepted().cached_prompt_tokens(), 0u) << "its K and V are others";
}

TEST_F(LevelsFileTest, GetModelShowsWhatTheFileSays) {
  Start({"--kv_pages=4000"});
  grpc::ClientContext context;
  v1::GetModelResponse model;
  ASSERT_TRUE(stub_->GetModel(&context, {}, &model).ok());
  ASSERT_EQ(model.levels_size(), 8);
  EXPECT_EQ(model.model_fingerprint(), absl::StrFormat("%016x", levels_.file.model_fingerprint));
  EXPECT_FALSE(model.levels_measured());
  EXPECT_EQ(model.levels_unmeasured_reason(),
            "the levels file has no quality of: plain, rank, free, zero");
  const v1::Level& small = model.levels(3);
  EXPECT_EQ(small.name(), "small");
  EXPECT_EQ(small.compensation().name(), "diag");
  EXPECT_EQ(small.quality().kl_nats().value(), 0.5);
  EXPECT_EQ(model.levels(2).name(), "mine");
  EXPECT_EQ(model.levels(2).skip_id(), small.skip_id());
  EXPECT_EQ(server_->Metric("skipstone_level_quality_kl_nats", {"level=\"large\""}), 0.75);
}

// K and V of the layers that stay are the same under both levels, so before the first layer is shed
// each token is what the choice makes of those before it, and after the last one what the ceiling
// does.
TEST_F(LevelsFileTest, ShedsToALargerLevelOfTheFamily) {
  // 13 blocks of two sequences: 10 layers each at the choice, 8 at the ceiling.
  Start({"--kv_pages=212", "--page_tokens=16", "--brownout_queue=2", "--brownout_pages=2"});
  std::vector<v1::GenerateRequest> requests = RandomRequests(2, {"none"}, kVocab, /*seed=*/4);
  for (size_t i = 0; i < requests.size(); ++i) {
    v1::GenerateRequest& request = requests[i];
    request.mutable_skip()->set_level("small");
    request.mutable_skip()->mutable_adaptive()->set_ceiling_level("large");
    request.mutable_token_ids()->clear_ids();
    for (int t = 0; t < 8; ++t) request.mutable_token_ids()->add_ids(3 + 100 * i + t);
    request.mutable_stopping()->set_max_tokens(200);
  }
  const auto responses = GenerateAll(*stub_, requests, {0, 0});
  int checked_before = 0, checked_after = 0;
  for (size_t i = 0; i < responses.size(); ++i) {
    const v1::GenerateOutput& output = responses[i].outputs(0);
    EXPECT_EQ(responses[i].accepted().applied_skip().level(), "small");
    EXPECT_EQ(output.finished().timing().preemptions(), 0u);
    const auto& ranges = output.finished().applied();
    if (ranges.empty()) continue;
    const v1::AppliedRange& last = *ranges.rbegin();
    EXPECT_EQ(ranges[0].applied_skip().level(), "small");
    EXPECT_TRUE(last.applied_skip().has_compensation());
    v1::TokenIds ids;
    for (const v1::Token& token : output.delta().tokens()) ids.add_ids(token.id());
    const auto small = Score("small", requests[i].token_ids(), ids);
    const auto large = Score("large", requests[i].token_ids(), ids);
    ASSERT_EQ(large.size(), 200u);
    for (int t = 0; t < ids.ids_size(); ++t) {
      const float logprob = output.delta().tokens(t).logprob();
      if (t < static_cast<int>(ranges[1].from_token())) {
        EXPECT_EQ(logprob, small[t]) << "token " << t;
        ++checked_before;
      } else if (t >= static_cast<int>(last.from_token()) &&
                 last.applied_skip().level() == "large") {
        EXPECT_EQ(last.applied_skip().compensation().hash(),
                  absl::StrFormat("%016x", SkipOf("large").maps_hash()));
        EXPECT_EQ(logprob, large[t]) << "token " << t;
        ++checked_after;
      }
    }
  }
  EXPECT_GT(checked_before, 0);
  EXPECT_GT(checked_after, 0);
}

TEST_F(LevelsFileTest, ACeilingOfAnotherFamilyIsRefused) {
  Start({"--kv_pages=4000"});
  v1::GenerateRequest request = AtLevel(RandomRequests(1, {"none"}, kVocab, 1)[0], "small");
  request.mutable_skip()->mutable_adaptive()->set_ceiling_level("rank");
  grpc::ClientContext context;
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("of the family 'rank'"), std::string::npos)
      << status.error_message();
}

}  // namespace
}  // namespace skipstone
