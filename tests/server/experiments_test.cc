#include "server/experiments.h"

#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/experiment_yaml.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/test_data.h"

namespace skipstone::server {
namespace {

using experiment::Exposure;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ExperimentsTest, WithoutAUnitTheNextExperimentIsAsked) {
  const Experiments experiments =
      ExperimentsOf(Halves("off", "window:60s", "  enabled: false\n") +
                    Halves("user", "metadata:user") + Halves("key", "request.experiment_key"));
  EXPECT_EQ(ByKey(experiments, "k")->experiment, "key");
  EXPECT_THAT(ReasonsOf(*ByKey(experiments, "k")),
              ElementsAre("off disabled", "user unit_missing", "key split"));
  EXPECT_FALSE(ByKey(experiments, "").has_value());
  EXPECT_THAT(ReasonsOf(experiments.Assign({})),
              ElementsAre("off disabled", "user unit_missing", "key unit_missing"));
  const Assignment both =
      experiments.Assign({.experiment_key = "k", .metadata = [](const std::string&) {
                            return std::optional<std::string>("u");
                          }});
  EXPECT_EQ(both.experiment, "user") << "the first that applies";
  EXPECT_THAT(ReasonsOf(both), ElementsAre("off disabled", "user split"));
}

TEST(ExperimentsTest, LayersAreIndependent) {
  const Experiments experiments =
      ExperimentsOf(Halves("skip", "request.experiment_key") + Recorded("prompt", "prompts") +
                    Recorded("ui", "ui"));
  constexpr int kUnits = 20000;
  double cells[3][4] = {};
  for (int i = 0; i < kUnits; ++i) {
    const Assignment assignment =
        experiments.Assign({.experiment_key = absl::StrFormat("user-%d", i)});
    ASSERT_EQ(assignment.exposures.size(), 3u);
    EXPECT_EQ(assignment.experiment, "skip") << "which sets the level";
    int treated[3];
    for (int e = 0; e < 3; ++e) treated[e] = assignment.exposures[e].arm == "t";
    ++cells[0][2 * treated[0] + treated[1]];
    ++cells[1][2 * treated[0] + treated[2]];
    ++cells[2][2 * treated[1] + treated[2]];
  }
  for (const auto& pair : cells) {
    double chi_square = 0;
    for (const double count : pair) chi_square += (count - 5000) * (count - 5000) / 5000;
    EXPECT_LT(chi_square, 16.3) << "three degrees of freedom, p = 0.001";
  }
}

TEST(ExperimentsTest, WithinALayerOneExperimentHasARequest) {
  const Experiments experiments =
      ExperimentsOf(Recorded("one", "ui") + Recorded("two", "ui") + Recorded("three", "prompts"));
  EXPECT_THAT(ReasonsOf(*ByKey(experiments, "k")), ElementsAre("one split", "three split"));
  EXPECT_EQ(ByKey(experiments, "k")->experiment, "one") << "without levels the first";
  EXPECT_EQ(ByKey(experiments, "k")->level, nullptr);
  ASSERT_EQ(experiments.warnings().size(), 1u);
  EXPECT_THAT(experiments.warnings()[0], HasSubstr("experiments.two: 'one' stands before it"));
}

TEST(ExperimentsTest, SlicesShareALayerAndAreIndependentOfTheArms) {
  const std::string key = "request.experiment_key";
  const Experiments experiments =
      ExperimentsOf(Halves("one", key, "  slice: {to: 0.3}\n") +
                    Halves("two", key, "  slice: {from: 0.3, to: 0.8}\n") + Recorded("ui", "ui"));
  EXPECT_THAT(experiments.warnings(), ElementsAre());
  constexpr int kUnits = 20000;
  std::map<std::string, int> arms;
  for (int i = 0; i < kUnits; ++i) {
    const Assignment made = experiments.Assign({.experiment_key = absl::StrFormat("user-%d", i)});
    ++arms[made.level == nullptr ? "none" : made.experiment + made.arm];
  }
  EXPECT_EQ(arms.size(), 5u);
  for (const std::string arm : {"c", "t"}) {
    EXPECT_NEAR(arms["one" + arm], 0.15 * kUnits, 0.01 * kUnits);
    EXPECT_NEAR(arms["two" + arm], 0.25 * kUnits, 0.01 * kUnits);
  }
  EXPECT_NEAR(arms["none"], 0.2 * kUnits, 0.01 * kUnits);
}

TEST(ExperimentsTest, AChosenSkipLeavesExperimentsWithoutLevels) {
  const Experiments experiments =
      ExperimentsOf(Halves("skip", "request.experiment_key") + Recorded("prompt", "prompts"));
  const Assignment chosen = experiments.Assign({.experiment_key = "k", .skip_chosen = true});
  EXPECT_THAT(ReasonsOf(chosen), ElementsAre("prompt split"));
  EXPECT_EQ(chosen.level, nullptr);
}

TEST(ExperimentsTest, AnArmThatIsOffHasTheDefaultLevelAndMovesNobody) {
  const Experiments experiments = ExperimentsOf(Halves("e", "request.experiment_key") +
                                                Halves("next", "request.experiment_key"));
  std::map<std::string, std::string> before;
  for (int i = 0; i < 100; ++i) {
    const std::string unit = absl::StrFormat("%d", i);
    before[unit] = ByKey(experiments, unit)->arm;
  }
  EXPECT_TRUE(experiments.switches().TurnOff({"e", "t", "its KL is above the limit", 1}));
  for (const auto& [unit, arm] : before) {
    const Assignment now = experiments.Assign({.experiment_key = unit});
    EXPECT_EQ(now.arm, arm == "c" ? "c" : "");
    EXPECT_EQ(now.level == nullptr, arm == "t");
    EXPECT_THAT(ReasonsOf(now), ElementsAre(arm == "c" ? "e split" : "e disabled"));
    EXPECT_TRUE(now.exposures[0].unit.has_value());
  }
  EXPECT_TRUE(experiments.switches().TurnOn("e", "t"));
  for (const auto& [unit, arm] : before) EXPECT_EQ(ByKey(experiments, unit)->arm, arm);
}

TEST(ExperimentsTest, NamesContradictions) {
  const auto error = [](const std::string& yaml) {
    const auto made = TryExperiments(yaml);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << yaml;
    return std::string(made.status().message());
  };
  const std::string key = "request.experiment_key";
  EXPECT_THAT(error(Halves("e", key, "  design: switchback\n")), HasSubstr("experiments.e.design"));
  EXPECT_THAT(error(Halves("e", "window:60s", "  design: mixed\n")),
              HasSubstr("experiments.e.design"));
  EXPECT_THAT(error(Halves("e", key, "  washout: 5s\n")), HasSubstr("experiments.e.washout"));
  EXPECT_THAT(error(Halves("e", "window:60s", "  washout: 60s\n")),
              HasSubstr("experiments.e.washout: 1m of windows of 1m"));
  EXPECT_THAT(error(Halves("e", "window:60s", "  arm_from: metadata:arm\n")),
              HasSubstr("experiments.e.arm_from"));
  EXPECT_THAT(error(Halves("e", key, "  layer: a/b\n")), HasSubstr("experiments.e.layer: 'a/b'"));
  EXPECT_THAT(error(Halves("e", key, "  exclude: {tenants: [a]}\n")),
              HasSubstr("experiments.e.exclude.tenants: without fair_share"));
  EXPECT_THAT(error(Halves("e", key, "  slice: {from: 0.5, to: 0.5}\n")),
              HasSubstr("experiments.e.slice: from 0.5 to 0.5"));
  EXPECT_THAT(error(Halves("e", "window:60s", "  slice: {to: 0.5}\n")),
              HasSubstr("experiments.e.slice"));
  EXPECT_THAT(error(Recorded("a", "x", "same") + Recorded("b", "y", "same")),
              HasSubstr("experiments.b.salt: 'a' has it too"));
  std::string other = Halves("b", key, "  layer: y\n");
  other.replace(other.find("salt: s"), 7, "salt: r");
  EXPECT_THAT(error(Halves("a", key) + other), HasSubstr("experiments.b.layer: its arms set"));
  EXPECT_TRUE(TryExperiments(Halves("a", key, "  enabled: false\n") + other).ok());
  EXPECT_TRUE(TryExperiments(Halves("e", "window:60s", "  design: switchback\n")).ok());
  EXPECT_TRUE(TryExperiments(Halves("e", key, "  design: mixed\n")).ok());
}

TEST(ExperimentsTest, WarnsOfWindowsThatRequestsMayOutlive) {
  EXPECT_THAT(ExperimentsOf(Halves("e", "window:10s")).warnings(),
              ElementsAre(HasSubstr("experiments.e.unit: windows are shorter")));
  EXPECT_THAT(ExperimentsOf(Halves("e", "window:60s")).warnings(), ElementsAre());
}

TEST(ExperimentsTest, TheDocumentedExampleIsValid) {
  const std::string readme = ReadTestFile(SourcePath("deploy/README.md"));
  const std::string begin = "```yaml\nexperiments:\n";
  const size_t at = readme.find(begin);
  ASSERT_NE(at, std::string::npos);
  const std::string yaml =
      readme.substr(at + begin.size(), readme.find("```", at + 3) - at - begin.size());
  ServerConfig config;
  const absl::Status status = ReadConfigText(
      "levels: {full: none, attn-33: 'attn:last=33%'}\nfair_share: metadata:x-tenant\n"
      "experiments:\n" +
          yaml,
      "README", config);
  ASSERT_TRUE(status.ok()) << status;
  const auto levels = Levels::Make(config, 4, 64);
  const auto experiments = Experiments::Make(config, *levels);
  ASSERT_TRUE(experiments.ok()) << experiments.status();
  EXPECT_THAT(experiments->warnings(), ElementsAre());
  EXPECT_EQ(experiments->all().size(), 2u);
}

// A unit of the first experiment for each arm.
std::string UnitOf(const std::string& arm) {
  int i = 0;
  while (ArmOfHalves("s", absl::StrFormat("%d", i)) != arm) ++i;
  return absl::StrFormat("%d", i);
}

TEST(ExperimentsTest, TheArmIsReportedEverywhere) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexperiments:\n" +
                             Halves("e", "metadata:x-user-id")});
  for (const std::string arm : {"c", "t"}) {
    const auto answer = server.Generate(Prompt("5 6", 3), [&](grpc::ClientContext& context) {
      context.AddMetadata("x-user-id", UnitOf(arm));
    });
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    const v1::AppliedSkip& applied = answer.response.accepted().applied_skip();
    EXPECT_EQ(applied.experiment(), "e");
    EXPECT_EQ(applied.arm(), arm);
    EXPECT_EQ(applied.level(), arm == "c" ? "full" : "deep");
    EXPECT_EQ(applied.spec(), arm == "c" ? "none" : "attn:2-3");
    EXPECT_EQ(answer.trailing.at("skipstone-arm"), "e/" + arm);
    EXPECT_EQ(answer.trailing.at("skipstone-level"), applied.level());
    EXPECT_EQ(server.Metric("skipstone_requests_total",
                            {"arm=\"e/" + arm + "\"", "skip_level=\"" + applied.level() + "\""}),
              1);
  }
  const auto outside = server.Generate(Prompt("5 6", 3));
  EXPECT_EQ(outside.response.accepted().applied_skip().experiment(), "");
  EXPECT_FALSE(outside.trailing.contains("skipstone-arm"));
  EXPECT_EQ(server.Metric("skipstone_requests_total", {"arm=\"\""}), 1);
}

TEST(ExperimentsTest, ArmsOfSeveralLayersAreAllTold) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexperiments:\n" +
                             Recorded("ui", "ui") + Halves("e", "request.experiment_key")});
  v1::GenerateRequest request = Prompt("5 6", 3);
  request.set_experiment_key(UnitOf("t"));
  grpc::ClientContext context;
  v1::GenerateResponse response;
  ASSERT_TRUE(server.stub().Generate(&context, request, &response).ok());
  EXPECT_EQ(response.accepted().applied_skip().experiment(), "e");
  const auto [first, end] = context.GetServerTrailingMetadata().equal_range("skipstone-arm");
  std::set<std::string> arms;
  for (auto it = first; it != end; ++it) arms.emplace(it->second.data(), it->second.size());
  EXPECT_EQ(arms.size(), 2u);
  EXPECT_TRUE(arms.contains("e/t"));
  server.Generate(Prompt("5 6", 3));
  EXPECT_EQ(server.Metric("skipstone_experiment_unassigned_total", {"reason=\"unit_missing\""}), 2);
}

// Clients make up units and sets without end; series are of the configuration alone.
TEST(ExperimentsTest, UnitsAndCustomSkipsMakeNoSeries) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexperiments:\n" +
                             Halves("e", "request.experiment_key") + Recorded("ui", "ui"),
                     .num_layers = 12});
  const auto series = [&] {
    const std::string text = ScrapeMetrics(server.server().metrics_address());
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto send = [&](int i) {
    v1::GenerateRequest request = Prompt("5", 1);
    request.set_experiment_key(absl::StrFormat("user-%d", i));
    if (i % 2 == 1) {
      for (int layer = 0; layer < 11; ++layer) {
        if ((i >> layer & 1) != 0) request.mutable_skip()->mutable_layers()->add_mlp(layer);
      }
    }
    EXPECT_TRUE(server.Generate(request).status.ok());
  };
  for (int i = 0; i < 64; ++i) send(i);
  const auto before = series();
  for (int i = 64; i < 2048; ++i) send(i);
  EXPECT_EQ(series(), before);
}

TEST(ExperimentsTest, AChosenSkipIsOutsideTheExperiment) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexperiments:\n" +
                             Halves("e", "request.experiment_key")});
  v1::GenerateRequest request = Prompt("5 6", 3);
  request.set_experiment_key(UnitOf("t"));
  EXPECT_EQ(server.Generate(request).response.accepted().applied_skip().arm(), "t");
  request.mutable_skip()->set_level("full");
  EXPECT_EQ(server.Generate(request).response.accepted().applied_skip().arm(), "");
}

// Cached prompt tokens of the second of two equal prompts, of which the second is in an arm.
uint32_t CachedInTheControlArm(const std::string& isolate) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexperiments:\n" +
                             Halves("e", "request.experiment_key", isolate)});
  v1::GenerateRequest request = Prompt("1 2 3 4 5 6 7 8 9", 2);
  EXPECT_TRUE(server.Generate(request).status.ok());
  EXPECT_EQ(server.Generate(request).response.accepted().cached_prompt_tokens(), 8u);
  request.set_experiment_key(UnitOf("c"));
  const uint32_t cached = server.Generate(request).response.accepted().cached_prompt_tokens();
  EXPECT_EQ(server.Generate(request).response.accepted().cached_prompt_tokens(), 8u)
      << "an arm shares with itself";
  return cached;
}

TEST(ExperimentsTest, ArmsDoNotShareThePrefixCacheUnlessToldTo) {
  EXPECT_EQ(CachedInTheControlArm(""), 0u);
  EXPECT_EQ(CachedInTheControlArm("  isolate_prefix_cache: false\n"), 8u);
}

}  // namespace
}  // namespace skipstone::server
