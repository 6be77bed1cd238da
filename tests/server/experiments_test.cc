#include "server/experiments.h"

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

ServerConfig ConfigOf(const std::string& experiments) {
  ServerConfig config;
  const absl::Status status = ReadConfigText(
      "levels: {full: none, deep: 'attn:last=2'}\nexperiments:\n" + experiments, "e", config);
  EXPECT_TRUE(status.ok()) << status;
  return config;
}

absl::StatusOr<Experiments> TryMake(const std::string& experiments) {
  const ServerConfig config = ConfigOf(experiments);
  const auto levels = Levels::Make(config, 4, 64);
  EXPECT_TRUE(levels.ok()) << levels.status();
  return Experiments::Make(config, *levels);
}

Experiments Make(const std::string& experiments) {
  auto made = TryMake(experiments);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

std::string Halves(const std::string& name, const std::string& unit, const std::string& more = "") {
  return absl::StrFormat(
      "- name: %s\n  unit: %s\n  salt: s\n%s"
      "  arms: [{name: c, level: full, weight: 1}, {name: t, level: deep, weight: 1}]\n",
      name, unit, more);
}

std::optional<Assignment> ByKey(const Experiments& experiments, const std::string& key) {
  return experiments.Assign({.experiment_key = key});
}

// Made by another implementation of FNV-1a 64 and the SplitMix64 finaliser, so that an analysis in
// another language can tell who was in which arm.
TEST(ExperimentsTest, UnitFractionHasTestVectors) {
  EXPECT_EQ(UnitFraction("", "", ""), 0.38870754538924934);
  EXPECT_EQ(UnitFraction("2026-11", "user-1", "control"), 0.6599115893348247);
  EXPECT_EQ(UnitFraction("2026-11", "user-1", "treatment"), 0.0663782846227684);
  EXPECT_EQ(UnitFraction("2026-11", "user-2", "control"), 0.7131794323780597);
  EXPECT_EQ(UnitFraction("2026-12", "user-1", "control"), 0.3969026140246795);
  EXPECT_EQ(UnitFraction("2026-11", "\u00fc", "control"), 0.9760219155625368);
  // The zero bytes between salt, unit and arm.
  EXPECT_EQ(UnitFraction("a", "bc", "d"), 0.8377301518707051);
  EXPECT_EQ(UnitFraction("ab", "c", "d"), 0.3062158226869872);
  EXPECT_EQ(UnitFraction("a", "b", "cd"), 0.9447110765784702);
}

// The rule, of two arms of equal weight: the greater fraction wins.
std::string ArmOfHalves(const std::string& salt, const std::string& unit) {
  return UnitFraction(salt, unit, "c") > UnitFraction(salt, unit, "t") ? "c" : "t";
}

TEST(ExperimentsTest, ArmsGetTheirWeights) {
  constexpr int kUnits = 100000;
  const Experiments experiments = Make(
      "- name: e\n  unit: request.experiment_key\n  salt: s\n"
      "  arms: [{name: a, level: full, weight: 0.5}, {name: b, level: deep, weight: 3},\n"
      "         {name: c, level: full, weight: 1.5}]\n");
  std::map<std::string, int> counts;
  for (int i = 0; i < kUnits; ++i) {
    ++counts[ByKey(experiments, absl::StrFormat("user-%d", i))->arm];
  }
  for (const auto& [arm, share] : {std::pair{"a", 0.1}, std::pair{"b", 0.6}, std::pair{"c", 0.3}}) {
    // Four standard deviations of a binomial count.
    EXPECT_NEAR(counts[arm], kUnits * share, 4 * std::sqrt(kUnits * share * (1 - share))) << arm;
  }
}

TEST(ExperimentsTest, AssignmentIsStickyAndFollowsTheVectors) {
  const std::string yaml = Halves("e", "request.experiment_key");
  const Experiments first = Make(yaml);
  const Experiments second = Make(yaml);
  for (int i = 0; i < 1000; ++i) {
    const std::string unit = absl::StrFormat("%d", i);
    const std::string arm = ArmOfHalves("s", unit);
    EXPECT_EQ(ByKey(first, unit)->arm, arm);
    EXPECT_EQ(ByKey(second, unit)->arm, arm);
    EXPECT_EQ(ByKey(first, unit)->level.name, arm == "c" ? "full" : "deep");
  }
}

// Of 10000 units, how many two experiments put into arms of one name.
int EqualArms(const Experiments& a, const Experiments& b) {
  int equal = 0;
  for (int i = 0; i < 10000; ++i) {
    const std::string unit = absl::StrFormat("%d", i);
    equal += ByKey(a, unit)->arm == ByKey(b, unit)->arm ? 1 : 0;
  }
  return equal;
}

std::string HalvesWithSalt(const std::string& name, const std::string& salt) {
  std::string yaml = Halves(name, "request.experiment_key");
  yaml.replace(yaml.find("  salt: s\n"), 10, salt);
  return yaml;
}

TEST(ExperimentsTest, SaltsMakeIndependentAssignments) {
  const Experiments one = Make(HalvesWithSalt("e", "  salt: one\n"));
  EXPECT_EQ(EqualArms(one, Make(HalvesWithSalt("f", "  salt: one\n"))), 10000);
  EXPECT_NEAR(EqualArms(one, Make(HalvesWithSalt("e", "  salt: two\n"))), 5000, 200);
}

TEST(ExperimentsTest, TheNameIsTheSaltWhereNoneIsGiven) {
  const Experiments one = Make(HalvesWithSalt("one", ""));
  EXPECT_EQ(EqualArms(one, Make(HalvesWithSalt("other", "  salt: one\n"))), 10000);
  EXPECT_EQ(EqualArms(one, Make(HalvesWithSalt("one", "  salt: ''\n"))), 10000);
  EXPECT_NEAR(EqualArms(one, Make(HalvesWithSalt("two", ""))), 5000, 200);
}

Experiments Weighted(const std::vector<std::pair<std::string, std::string>>& arms) {
  std::string yaml = "- name: e\n  unit: request.experiment_key\n  arms:\n";
  for (const auto& [name, weight] : arms) {
    yaml += absl::StrFormat("  - {name: %s, level: full, weight: %s}\n", name, weight);
  }
  return Make(yaml);
}

// Made by the same other implementation.
TEST(ExperimentsTest, UnequalArmsHaveTestVectors) {
  const Experiments experiments = Weighted({{"c", "50"}, {"t1", "30"}, {"t2", "20"}});
  const char* const arms[] = {"c", "c", "c", "c", "t1", "t2", "t1", "c", "t1", "c", "t1", "t1"};
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(ByKey(experiments, absl::StrFormat("user-%d", i))->arm, arms[i]) << i;
  }
}

// How many of 20000 units move, by "from to".
std::map<std::string, int> Moves(const Experiments& before, const Experiments& after) {
  std::map<std::string, int> moves;
  for (int i = 0; i < 20000; ++i) {
    const std::string unit = absl::StrFormat("user-%d", i);
    const std::string from = ByKey(before, unit)->arm;
    const std::string to = ByKey(after, unit)->arm;
    if (from != to) ++moves[from + " " + to];
  }
  return moves;
}

TEST(ExperimentsTest, ARampMovesOnlyUnitsOfArmsThatShrink) {
  const Experiments start = Weighted({{"c", "80"}, {"t1", "10"}, {"t2", "10"}});
  const auto up = Moves(start, Weighted({{"c", "60"}, {"t1", "20"}, {"t2", "20"}}));
  EXPECT_EQ(up.size(), 2u) << "from c alone";
  EXPECT_NEAR(up.at("c t1"), 2000, 200);
  EXPECT_NEAR(up.at("c t2"), 2000, 200);
  const auto down = Moves(start, Weighted({{"c", "90"}, {"t1", "5"}, {"t2", "5"}}));
  EXPECT_EQ(down.size(), 2u) << "to c alone";
  EXPECT_NEAR(down.at("t1 c") + down.at("t2 c"), 2000, 300);
  // Neither scale nor order of the arms matters, and an arm that goes leaves the others alone.
  EXPECT_TRUE(Moves(start, Weighted({{"t2", "1"}, {"c", "8"}, {"t1", "1"}})).empty());
  for (const auto& [move, count] : Moves(start, Weighted({{"c", "80"}, {"t1", "10"}}))) {
    EXPECT_EQ(move.substr(0, 3), "t2 ") << count;
  }
}

TEST(ExperimentsTest, TakesWeightsOfAnySize) {
  const Experiments huge = Weighted({{"a", "1e308"}, {"b", "1e308"}, {"c", "1e-308"}});
  const Experiments one = Weighted({{"a", "1"}, {"b", "1"}});
  EXPECT_TRUE(Moves(huge, one).empty()) << "and nobody is in c";
  EXPECT_EQ(ByKey(Weighted({{"a", "1e-308"}}), "u")->arm, "a");
}

TEST(ExperimentsTest, UnitsComeFromMetadataKeyOrWindow) {
  const Experiments by_metadata = Make(Halves("e", "metadata:X-User-Id"));
  std::string asked;
  const auto assigned =
      by_metadata.Assign({.metadata = [&](const std::string& key) -> std::optional<std::string> {
        asked = key;
        return "7";
      }});
  EXPECT_EQ(asked, "x-user-id") << "metadata keys are lower case";
  EXPECT_EQ(assigned->arm, ArmOfHalves("s", "7"));

  const Experiments by_window = Make(Halves("e", "window:60s"));
  using std::chrono::system_clock;
  std::set<std::string> arms;
  for (int minute = 0; minute < 20; ++minute) {
    const system_clock::time_point start{std::chrono::minutes(minute)};
    const std::string arm = by_window.Assign({.now = start})->arm;
    EXPECT_EQ(arm, by_window.Assign({.now = start + std::chrono::milliseconds(59999)})->arm);
    EXPECT_EQ(arm, ArmOfHalves("s", absl::StrFormat("%d", minute)));
    arms.insert(arm);
  }
  EXPECT_EQ(arms.size(), 2u) << "the switchback switches";
}

TEST(ExperimentsTest, WithoutAUnitTheNextExperimentIsAsked) {
  const Experiments experiments =
      Make(Halves("off", "window:60s", "  enabled: false\n") + Halves("user", "metadata:user") +
           Halves("key", "request.experiment_key"));
  EXPECT_EQ(ByKey(experiments, "k")->experiment, "key");
  EXPECT_FALSE(ByKey(experiments, "").has_value());
  const auto both = experiments.Assign({.experiment_key = "k", .metadata = [](const std::string&) {
                                          return std::optional<std::string>("u");
                                        }});
  EXPECT_EQ(both->experiment, "user") << "the first that applies";
}

TEST(ExperimentsTest, NamesMistakes) {
  const auto error = [](const std::string& yaml) {
    const auto made = TryMake(yaml);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << yaml;
    return std::string(made.status().message());
  };
  EXPECT_THAT(error(Halves("e", "window:60s") + Halves("e", "window:60s")),
              HasSubstr("'e' appears twice"));
  for (const std::string unit :
       {"user", "'metadata:'", "window:0s", "window:10ms", "window:x", "request.user"}) {
    EXPECT_THAT(error(Halves("e", unit)), HasSubstr("experiments.e.unit"));
  }
  const std::string arms = "- name: e\n  unit: window:60s\n  arms: ";
  EXPECT_THAT(
      error(arms + "[{name: a, level: full, weight: 1}, {name: a, level: full, weight: 1}]"),
      HasSubstr("experiments.e: the arm 'a' appears twice"));
  EXPECT_THAT(error(arms + "[{name: a, level: half, weight: 1}]"),
              HasSubstr("experiments.e.arms.a: no level 'half'; the levels are: full, deep"));
  EXPECT_THAT(error(arms + "[{name: a/b, level: full, weight: 1}]"),
              HasSubstr("'a/b' is not a name"));
  EXPECT_THAT(error(Halves("caf\u00e9", "window:60s")), HasSubstr("is not a name"));
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
