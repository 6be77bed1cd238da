// What the engine did with the skip, as the client is told.
#include "server/generate_sink.h"

#include <string>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "server/describe.h"
#include "tests/server/fake_serving.h"
#include "tests/support/test_levels.h"

namespace skipstone::server {
namespace {

class Events : public EventReceiver {
 public:
  void OnEvent(v1::GenerateEvent event) override { events.push_back(std::move(event)); }
  void OnEnd(const absl::Status& status) override { end = status; }

  std::vector<v1::GenerateEvent> events;
  absl::Status end = absl::UnknownError("not ended");
};

SkipSet Skip(const std::string& spec) { return ParseSkipSet(spec, 4).value(); }

// A request that chose `level`, with the skip set of it.
class GenerateSinkTest : public testing::Test {
 protected:
  void Choose(const std::string& level, const std::string& spec) {
    Admitted admitted{.live = (*serving_).live.current()};
    admitted.request.skip = Skip(spec);
    admitted.request.labels.level = level;
    admitted.applied = AppliedSkipOf({.name = level, .skip = Skip(spec)}, "e", "a");
    sink_ = std::make_unique<GenerateSink>(v1::GenerateRequest(), admitted, *serving_, events_);
  }
  v1::Accepted Accept(const std::string& spec) {
    sink_->OnAccepted({.prompt_tokens = 3, .skip = Skip(spec)});
    return events_.events.back().accepted();
  }
  v1::Finished Finish(std::vector<AppliedRange> applied) {
    OutputFinished finished;
    finished.applied = std::move(applied);
    sink_->OnFinished(finished);
    return events_.events.back().finished();
  }

  FakeServing serving_{"levels: {full: none, deep: 'attn:last=2', same: 'attn:last=2'}"};
  Events events_;
  std::unique_ptr<GenerateSink> sink_;
};

TEST_F(GenerateSinkTest, AcceptedReportsTheChoiceIfThatIsWhatRuns) {
  Choose("custom", "attn:2-3");
  const v1::Accepted accepted = Accept("attn:2-3");
  EXPECT_EQ(accepted.applied_skip().level(), "custom") << "it was not chosen by the level's name";
  EXPECT_EQ(accepted.applied_skip().spec(), "attn:2-3");
  EXPECT_FALSE(accepted.browned_out());
}

TEST_F(GenerateSinkTest, AcceptedReportsWhatRunsInsteadOfTheChoice) {
  Choose("full", "none");
  const v1::Accepted level = Accept("attn:2-3");
  EXPECT_TRUE(level.browned_out());
  EXPECT_EQ(level.applied_skip().level(), "deep") << "the first of two equal levels";
  EXPECT_EQ(level.applied_skip().spec(), "attn:2-3");
  EXPECT_EQ(level.applied_skip().skip_id(), Skip("attn:2-3").id());
  EXPECT_EQ(level.applied_skip().layers().attention_size(), 2);
  EXPECT_EQ(level.applied_skip().experiment() + "/" + level.applied_skip().arm(), "e/a");
  const v1::Accepted custom = Accept("attn:1-3");
  EXPECT_EQ(custom.applied_skip().level(), "custom");
  EXPECT_EQ(custom.applied_skip().spec(), "attn:1-3");
}

TEST_F(GenerateSinkTest, FinishedReportsTheRangesOfTokensIfLayersWereShed) {
  Choose("full", "none");
  Accept("none");
  EXPECT_EQ(Finish({}).applied_size(), 0);
  const v1::Finished shed = Finish({{0, Skip("none")}, {5, Skip("attn:3")}, {9, Skip("attn:2-3")}});
  ASSERT_EQ(shed.applied_size(), 3);
  const std::vector<std::pair<uint32_t, std::string>> expected = {
      {0, "full none"}, {5, "custom attn:3"}, {9, "deep attn:2-3"}};
  for (int i = 0; i < 3; ++i) {
    const v1::AppliedSkip& applied = shed.applied(i).applied_skip();
    EXPECT_EQ(shed.applied(i).from_token(), expected[i].first);
    EXPECT_EQ(applied.level() + " " + applied.spec(), expected[i].second);
    EXPECT_EQ(applied.arm(), "a");
  }
}

TEST_F(GenerateSinkTest, ASetWithMapsIsTheLevelThatHasThem) {
  TestLevels levels(7, 4, 8);
  const SkipSet small = levels.Add("small", "attn:3", "f", "bias").skip;
  const SkipSet large = levels.Add("large", "attn:1-3", "f", "diag").skip;
  SkipSet between = small;
  between.SkipAttention(2);
  between.TakeMapsAbove(1, large);
  FakeServing serving("levels: {full: none, plain: 'attn:3'}", &levels.file);
  const auto live = (*serving).live.current();
  Admitted admitted{.live = live};
  admitted.request.skip = small;
  admitted.applied = AppliedSkipOf(live->levels.Find("small").value(), "", "");
  GenerateSink sink(v1::GenerateRequest(), admitted, *serving, events_);
  sink.OnAccepted({.prompt_tokens = 3, .skip = small});
  const v1::Accepted accepted = events_.events.back().accepted();
  EXPECT_FALSE(accepted.browned_out());
  EXPECT_EQ(accepted.applied_skip().compensation().name(), "bias");
  sink.OnFinished({.applied = {{0, small}, {5, between}, {9, large}, {11, small.WithoutMaps()}}});
  const v1::Finished finished = events_.events.back().finished();
  std::vector<std::string> applied;
  for (const v1::AppliedRange& range : finished.applied()) {
    const v1::AppliedSkip& skip = range.applied_skip();
    applied.push_back(skip.level() + ":" + skip.compensation().name());
    EXPECT_EQ(skip.spec().ends_with("@" + skip.compensation().hash()), skip.has_compensation());
  }
  EXPECT_EQ(applied, (std::vector<std::string>{"small:bias", "custom:", "large:diag", "plain:"}));
  EXPECT_TRUE(finished.applied(1).applied_skip().has_compensation()) << "of two levels";
}

TEST_F(GenerateSinkTest, TheEndIsPassedOn) {
  Choose("full", "none");
  Accept("none");
  sink_->OnDone(absl::InternalError("device"), {});
  EXPECT_EQ(events_.end, absl::InternalError("device"));
  EXPECT_EQ(events_.events.size(), 1u);
}

}  // namespace
}  // namespace skipstone::server
