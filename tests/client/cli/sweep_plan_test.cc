#include "client/cli/sweep_plan.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace skipstone::client {
namespace {

using server::FakeServer;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kLevels[] = "levels: {half: 'attn:last=50%', full: none}\ndefault_level: full";

absl::StatusOr<SweepPlan> Plan(FakeServer& server, const std::vector<std::string>& skips,
                               SweepFiles files = {}, const SweepSettings& settings = {}) {
  const Client client(server.channel());
  return MakeSweepPlan(client, {}, skips, std::move(files), settings);
}

std::vector<std::string> Names(const SweepPlan& plan) {
  std::vector<std::string> names;
  for (const SweptSkip& skip : plan.skips) names.push_back(skip.name + " = " + skip.spec);
  return names;
}

TEST(SweepPlanTest, TheServersLevelsWithTheFullModelFirst) {
  FakeServer server({.yaml = kLevels});
  const auto plan = Plan(server, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(Names(*plan), ElementsAre("full = none", "half = attn:2-3"));
}

TEST(SweepPlanTest, SpecsAndLevelsInTheirOrder) {
  FakeServer server({.yaml = kLevels});
  const auto plan = Plan(server, {"win:last=1/16", "half", "none", "mlp:3"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(Names(*plan), ElementsAre("none = none", "win:last=1/16 = win:3/16",
                                        "half = attn:2-3", "mlp:3 = mlp:3"));
}

TEST(SweepPlanTest, TheFullModelIsAddedByItsNameWhereItHasOne) {
  FakeServer server({.yaml = std::string(kLevels) + "\npolicy: {allow_custom_skip: false}"});
  const auto plan = Plan(server, {"half"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(Names(*plan), ElementsAre("full = none", "half = attn:2-3"));
}

TEST(SweepPlanTest, AServerOfOneLevelNeedsSkips) {
  FakeServer server;
  const auto plan = Plan(server, {});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("--skips"));
}

TEST(SweepPlanTest, SkipsThatAreNoneAreNamed) {
  FakeServer server({.yaml = kLevels});
  const auto unknown = Plan(server, {"none", "quarter"});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.status().message()),
              AllOf(HasSubstr("--skips \"quarter\""), HasSubstr("half")));
  const auto wrong = Plan(server, {"attn:last=0%x"});
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()), HasSubstr("attn:last=0%x"));
}

TEST(SweepPlanTest, TextIsCutIntoWholeWindows) {
  FakeServer server;
  const auto plan = Plan(server, {"none"}, {.text = std::string("1 2 3 4 5 6 7 8")}, {.window = 3});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->windows.size(), 2);
  EXPECT_THAT(plan->windows[1].prompt().token_ids().ids(), ElementsAre(4, 5, 6));
  EXPECT_EQ(Plan(server, {"none"}, {.text = std::string("1 2 3 4 5 6")}, {.window = 3, .items = 1})
                ->windows.size(),
            1);
}

TEST(SweepPlanTest, IdsNeedNoTokenizerAndStandBehindTheSameToken) {
  FakeServer server;
  using Ids = std::vector<int32_t>;
  const auto plan = Plan(server, {"none"},
                         {.text = Ids{1, 2, 3, 4, 5, 6}, .prompts = {{1, Ids{7}}}}, {.window = 3});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->windows.size(), 2);
  EXPECT_THAT(plan->windows[1].prompt().token_ids().ids(), ElementsAre(4, 5, 6));
  EXPECT_THAT(plan->prompts, ElementsAre(ElementsAre(7)));
  SweepPlan with_bos = *plan;
  with_bos.model.set_bos_token_id(1);
  EXPECT_THAT(with_bos.BehindBos({8, 9}), ElementsAre(1, 8, 9));
}

TEST(SweepPlanTest, LengthsAreCutToTheContext) {
  FakeServer server;  // of 64
  std::string text;
  for (int i = 0; i < 64; ++i) text += "7 ";
  const auto plan = Plan(server, {"none"}, {.text = text});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->windows[0].prompt().token_ids().ids_size(), 64);
  EXPECT_EQ(plan->settings.speed_tokens, 32);
  EXPECT_EQ(Plan(server, {"none"}, {}, {.max_tokens = 1000})->settings.speed_tokens, 1);
}

TEST(SweepPlanTest, ATextBelowAWindowIsAnError) {
  FakeServer server;
  for (const char* text : {"5", "1 2 3 4 5 6 7 8 9"}) {
    const auto plan = Plan(server, {"none"}, {.text = std::string(text)}, {.window = 10});
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(plan.status().message()),
                AllOf(HasSubstr("--text"), HasSubstr("a window of 10")));
  }
}

TEST(SweepPlanTest, PromptsThatCannotBeTokenisedAreNamed) {
  FakeServer server;
  const auto plan = Plan(server, {"none"}, {.prompts = {{1, "1 2"}, {4, "1 \xff"}}});
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("--prompts line 4"));
}

SweepPlan Small() {
  SweepPlan plan;
  plan.model.set_model_fingerprint("5eed");
  plan.settings.speed_runs = 1;
  plan.skips = {{.name = "none", .spec = "none"}, {.name = "a", .spec = "attn:3"}};
  plan.files.choices = {{1, "q", {"x", "y"}, {1, 1}, 0}, {2, "r", {"x", "y"}, {1, 1}, 1}};
  plan.prompts = {{1, 2}};
  return plan;
}

TEST(SweepPlanTest, KeysAreThoseOfAllItemsTimesFirst) {
  const auto keys = Small().Keys();
  ASSERT_EQ(keys.size(), 8);
  EXPECT_EQ(keys[0], (SweepKey{SweepTask::kSpeed, 0, 0}));
  EXPECT_EQ(keys[1], (SweepKey{SweepTask::kSpeed, 0, 1}));
  EXPECT_EQ(keys[5], (SweepKey{SweepTask::kChoices, 1, 1}));
  EXPECT_EQ(keys[7], (SweepKey{SweepTask::kGeneration, 0, 1}));
}

TEST(SweepPlanTest, HeadersDifferWithAllThatResultsDependOn) {
  std::vector<std::string> headers = {Small().Header().dump()};
  EXPECT_EQ(headers[0], Small().Header().dump());
  const auto changed = [&](auto change) {
    SweepPlan plan = Small();
    change(plan);
    headers.push_back(plan.Header().dump());
  };
  changed([](SweepPlan& plan) { plan.model.set_model_fingerprint("f00d"); });
  changed([](SweepPlan& plan) { plan.model.set_backend("cuda"); });
  changed([](SweepPlan& plan) { plan.model.add_levels()->set_name("new"); });
  changed([](SweepPlan& plan) { plan.skips[1].spec = "attn:2-3"; });
  changed([](SweepPlan& plan) { plan.skips.pop_back(); });
  changed([](SweepPlan& plan) { plan.files.choices[1].gold = 0; });
  changed([](SweepPlan& plan) { plan.files.choices[1].choices[0] = "z"; });
  changed([](SweepPlan& plan) { plan.files.choices[1].choices[0] = std::vector<int32_t>{1}; });
  changed([](SweepPlan& plan) { plan.files.choices[1].characters[0] = 2; });
  changed([](SweepPlan& plan) { plan.files.last_words = {{1, "c", " w"}}; });
  changed([](SweepPlan& plan) { plan.prompts[0].push_back(3); });
  changed([](SweepPlan& plan) {
    plan.windows.emplace_back().mutable_prompt()->mutable_token_ids()->add_ids(3);
  });
  changed([](SweepPlan& plan) { plan.settings.max_tokens = 8; });
  changed([](SweepPlan& plan) { plan.settings.speed_tokens = 8; });
  changed([](SweepPlan& plan) { plan.settings.speed_runs = 2; });
  EXPECT_EQ(std::set<std::string>(headers.begin(), headers.end()).size(), headers.size());
}

TEST(SweepPlanTest, ResultsOfOtherItemsDoNotFit) {
  const SweepPlan plan = Small();
  const ChoicesResult two{{-1, -2}};
  EXPECT_TRUE(plan.Fits({SweepTask::kChoices, 1, 1}, two));
  EXPECT_FALSE(plan.Fits({SweepTask::kChoices, 1, 1}, ChoicesResult{{-1}}));
  EXPECT_FALSE(plan.Fits({SweepTask::kChoices, 2, 1}, two));
  EXPECT_FALSE(plan.Fits({SweepTask::kChoices, -1, 1}, two));
  EXPECT_FALSE(plan.Fits({SweepTask::kChoices, 1, 2}, two));
}

}  // namespace
}  // namespace skipstone::client
