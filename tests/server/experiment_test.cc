#include "server/experiment.h"

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

namespace skipstone::server {
namespace {

using experiment::Exposure;
using experiment::Reason;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ExperimentTest, ArmsGetTheirWeights) {
  constexpr int kUnits = 100000;
  const Experiments experiments = ExperimentsOf(
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

TEST(ExperimentTest, AssignmentIsStickyAndFollowsTheVectors) {
  const std::string yaml = Halves("e", "request.experiment_key");
  const Experiments first = ExperimentsOf(yaml);
  const Experiments second = ExperimentsOf(yaml);
  for (int i = 0; i < 1000; ++i) {
    const std::string unit = absl::StrFormat("%d", i);
    const std::string arm = ArmOfHalves("s", unit);
    EXPECT_EQ(ByKey(first, unit)->arm, arm);
    EXPECT_EQ(ByKey(second, unit)->arm, arm);
    EXPECT_EQ(ByKey(first, unit)->level->name, arm == "c" ? "full" : "deep");
  }
}

const char kRamp[] =
    "- name: e\n  unit: request.experiment_key\n  ramp: {steps: [0.05, 0.2], hold: 1m}\n"
    "  arms: [{name: c, level: full, weight: 4}, {name: t, level: deep, weight: 4},\n"
    "         {name: u, level: deep, weight: 2}]\n";

TEST(ExperimentTest, ARampGivesItsStepsPartToAllArmsButTheFirst) {
  const Experiments experiments = ExperimentsOf(kRamp);
  std::map<int, std::string> arms;
  std::set<uint64_t> generations;
  for (const auto& [step, part] : {std::pair{0, 0.05}, std::pair{1, 0.2}, std::pair{2, 0.6}}) {
    experiments.switches().GoTo("e", step);
    std::map<std::string, int> counts;
    for (int i = 0; i < 20000; ++i) {
      const Assignment assignment = *ByKey(experiments, absl::StrFormat("user-%d", i));
      const Exposure& exposure = assignment.exposures[0];
      generations.insert(exposure.generation.value);
      EXPECT_NEAR(exposure.share,
                  assignment.arm == "c"   ? 1 - part
                  : assignment.arm == "t" ? part * 2 / 3
                                          : part / 3,
                  1e-12);
      ++counts[assignment.arm];
      // Whoever is treated stays where he is.
      std::string& before = arms[i];
      if (step > 0 && before != "c") {
        EXPECT_EQ(assignment.arm, before);
      }
      before = assignment.arm;
    }
    EXPECT_NEAR(counts["t"], 20000 * part * 2 / 3, 200);
    EXPECT_NEAR(counts["u"], 20000 * part / 3, 200);
  }
  EXPECT_EQ(generations.size(), 3);
  EXPECT_EQ(experiments.all()[0].generations().size(), 3);
}

TEST(ExperimentTest, TheLastStepOfARampIsTheExperimentWithoutOne) {
  std::string plain = kRamp;
  plain.erase(plain.find("  ramp"), plain.find("  arms") - plain.find("  ramp"));
  const Experiments experiments = ExperimentsOf(plain), ramped = ExperimentsOf(kRamp);
  EXPECT_EQ(experiments.all()[0].generations().back(), ramped.all()[0].generations().back());
  ramped.switches().GoTo("e", 2);
  for (int i = 0; i < 1000; ++i) {
    const std::string unit = absl::StrFormat("%d", i);
    EXPECT_EQ(ByKey(ramped, unit)->arm, ByKey(experiments, unit)->arm);
  }
}

TEST(ExperimentTest, RampsThatLeadNowhereAreRefused) {
  const auto error = [](const std::string& ramp, const std::string& unit, std::string arms) {
    if (arms.empty()) arms = "{name: c, level: full, weight: 1}, {name: t, level: deep, weight: 1}";
    return std::string(TryExperiments("- name: e\n  " + unit + "\n  ramp: {steps: " + ramp +
                                      "}\n  arms: [" + arms + "]\n")
                           .status()
                           .message());
  };
  const std::string key = "unit: request.experiment_key";
  EXPECT_EQ(error("[0.4]", key, ""), "");
  EXPECT_EQ(error("[0.4, 0.5]", key, ""),
            "experiments.e.ramp.steps: 0.5 is not below 0.5, which the weights give to arms but "
            "the first");
  EXPECT_THAT(error("[0.1]", key, "{name: c, level: full, weight: 1}"),
              HasSubstr("0.1 is not below 0"));
  EXPECT_THAT(error("[0.1]", "unit: window:60s", ""), HasSubstr("e.ramp: only units"));
  EXPECT_THAT(error("[0.1]", key + "\n  arm_from: metadata:x-arm", ""),
              HasSubstr("e.ramp: only units"));
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

TEST(ExperimentTest, SaltsMakeIndependentAssignments) {
  const Experiments one = ExperimentsOf(HalvesWithSalt("e", "  salt: one\n"));
  EXPECT_EQ(EqualArms(one, ExperimentsOf(HalvesWithSalt("f", "  salt: one\n"))), 10000);
  EXPECT_NEAR(EqualArms(one, ExperimentsOf(HalvesWithSalt("e", "  salt: two\n"))), 5000, 200);
}

TEST(ExperimentTest, TheNameIsTheSaltWhereNoneIsGiven) {
  const Experiments one = ExperimentsOf(HalvesWithSalt("one", ""));
  EXPECT_EQ(EqualArms(one, ExperimentsOf(HalvesWithSalt("other", "  salt: one\n"))), 10000);
  EXPECT_EQ(EqualArms(one, ExperimentsOf(HalvesWithSalt("one", "  salt: ''\n"))), 10000);
  EXPECT_NEAR(EqualArms(one, ExperimentsOf(HalvesWithSalt("two", ""))), 5000, 200);
}

Experiments Weighted(const std::vector<std::pair<std::string, std::string>>& arms) {
  std::string yaml = "- name: e\n  unit: request.experiment_key\n  arms:\n";
  for (const auto& [name, weight] : arms) {
    yaml += absl::StrFormat("  - {name: %s, level: full, weight: %s}\n", name, weight);
  }
  return ExperimentsOf(yaml);
}

// Made by the same other implementation.
TEST(ExperimentTest, UnequalArmsHaveTestVectors) {
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

TEST(ExperimentTest, ARampMovesOnlyUnitsOfArmsThatShrink) {
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

TEST(ExperimentTest, TakesWeightsOfAnySize) {
  const Experiments huge = Weighted({{"a", "1e308"}, {"b", "1e308"}, {"c", "1e-308"}});
  const Experiments one = Weighted({{"a", "1"}, {"b", "1"}});
  EXPECT_TRUE(Moves(huge, one).empty()) << "and nobody is in c";
  EXPECT_EQ(ByKey(Weighted({{"a", "1e-308"}}), "u")->arm, "a");
}

TEST(ExperimentTest, UnitsComeFromMetadataOrKey) {
  const Experiments experiments = ExperimentsOf(Halves("e", "metadata:X-User-Id"));
  const Assignment assigned = ByMetadata(experiments, {{"x-user-id", "7"}});
  EXPECT_EQ(assigned.arm, ArmOfHalves("s", "7")) << "metadata keys are lower case";
  ASSERT_EQ(assigned.exposures.size(), 1u);
  EXPECT_EQ(assigned.exposures[0].unit->value, experiment::UnitHash("s", "7"));
  EXPECT_EQ(assigned.exposures[0].design, experiment::Design::kMixed);
  EXPECT_EQ(ByMetadata(experiments, {{"x-user-id", ""}}).arm, "") << "nobody is no unit";
}

TEST(ExperimentTest, WindowsAreASwitchback) {
  const Experiments experiments = ExperimentsOf(Halves("e", "window:60s", "  washout: 20s\n"));
  using std::chrono::system_clock;
  std::map<std::string, int> arms;
  std::string before = experiments.Assign({.now = system_clock::time_point{}}).arm;
  for (int minute = 0; minute < 20; ++minute) {
    const system_clock::time_point start{std::chrono::minutes(minute)};
    const Assignment first = experiments.Assign({.now = start});
    const Assignment last = experiments.Assign({.now = start + std::chrono::milliseconds(59999)});
    EXPECT_EQ(first.arm, last.arm);
    ++arms[first.arm];
    const Exposure& exposure = first.exposures[0];
    EXPECT_EQ(exposure.design, experiment::Design::kSwitchback);
    ASSERT_TRUE(exposure.window.has_value());
    EXPECT_EQ(exposure.window->index, minute);
    EXPECT_EQ(exposure.window->block, minute / 4);
    EXPECT_EQ(exposure.window->seconds, 60);
    if (minute > 0) {
      EXPECT_EQ(exposure.window->counted, first.arm == before) << minute;
    }
    EXPECT_TRUE(last.exposures[0].window->counted);
    EXPECT_FALSE(exposure.unit.has_value()) << "the window is the unit";
    before = first.arm;
  }
  EXPECT_EQ(arms["c"], 10) << "balanced in each of the blocks";
  EXPECT_EQ(arms["t"], 10);
}

TEST(ExperimentTest, TheWashoutIsAQuarterOfTheWindowUnlessItIsGiven) {
  const Experiments experiments = ExperimentsOf(Halves("e", "window:60s"));
  using std::chrono::seconds;
  bool changed = false;
  for (int minute = 0; minute < 20; ++minute) {
    const std::chrono::system_clock::time_point start{std::chrono::minutes(minute)};
    const auto counted = [&](seconds offset) {
      return experiments.Assign({.now = start + offset}).exposures[0].window->counted;
    };
    changed |= !counted(seconds(14));
    EXPECT_TRUE(counted(seconds(15)));
  }
  EXPECT_TRUE(changed);
}

// What an analysis knows of a unit before its experiment begins.
TEST(ExperimentTest, AnExperimentThatIsOffStillTellsTheUnit) {
  const Experiments off =
      ExperimentsOf(Halves("e", "request.experiment_key", "  enabled: false\n"));
  const Experiments on = ExperimentsOf(Halves("e", "request.experiment_key"));
  const Exposure before = off.Assign({.experiment_key = "k"}).exposures[0];
  const Exposure after = on.Assign({.experiment_key = "k"}).exposures[0];
  EXPECT_EQ(before.unit, after.unit);
  EXPECT_EQ(before.generation, after.generation);
  EXPECT_EQ(before.arm, "");
  EXPECT_EQ(off.Assign({.experiment_key = "k"}).level, nullptr);
}

TEST(ExperimentTest, TenantsAndPrioritiesCanBeExcluded) {
  const Experiments experiments = ExperimentsOf(
      Halves("e", "request.experiment_key",
             "  exclude: {tenants: [acme, 'b c'], priority_above: 0, priority_below: -5}\n") +
          Recorded("all", "ui"),
      "fair_share: metadata:tenant\n");
  const auto taken = [&](const std::string& tenant, int priority) {
    const Assignment made =
        experiments.Assign({.experiment_key = "k", .tenant = tenant, .priority = priority});
    EXPECT_EQ(made.exposures[1].reason, Reason::kSplit);
    EXPECT_EQ(made.level != nullptr, made.exposures[0].reason == Reason::kSplit);
    return std::string(NameOf(made.exposures[0].reason));
  };
  EXPECT_EQ(taken("", 0), "split");
  EXPECT_EQ(taken("other", -5), "split");
  EXPECT_EQ(taken("acme", 0), "excluded");
  EXPECT_EQ(taken("b c", 0), "excluded");
  EXPECT_EQ(taken("other", 1), "excluded");
  EXPECT_EQ(taken("other", -6), "excluded");
}

TEST(ExperimentTest, TheCallerMayNameTheArm) {
  const Experiments experiments = ExperimentsOf(
      "- name: e\n  arm_from: metadata:X-Arm\n  unit: metadata:user\n"
      "  arms: [{name: c, level: full, weight: 1}, {name: t, level: deep, weight: 1}]\n" +
      Halves("next", "metadata:user"));
  const Assignment named = ByMetadata(experiments, {{"x-arm", "t"}, {"user", "7"}});
  EXPECT_EQ(named.experiment + "/" + named.arm, "e/t");
  EXPECT_EQ(named.level->name, "deep");
  EXPECT_THAT(ReasonsOf(named), ElementsAre("e gateway_arm"));
  EXPECT_EQ(named.exposures[0].unit->value, experiment::UnitHash("e", "7"));
  const Assignment unknown = ByMetadata(experiments, {{"x-arm", "T"}, {"user", "7"}});
  EXPECT_THAT(ReasonsOf(unknown), ElementsAre("e unknown_arm")) << "and no other takes it";
  EXPECT_EQ(unknown.level, nullptr);
  EXPECT_THAT(ReasonsOf(ByMetadata(experiments, {{"user", "7"}})),
              ElementsAre("e unit_missing", "next split"));
  EXPECT_THAT(ReasonsOf(ByMetadata(experiments, {{"x-arm", "t"}})),
              ElementsAre("e unit_missing", "next unit_missing"));
  const Experiments recorded = ExperimentsOf(
      "- name: e\n  arm_from: metadata:arm\n"
      "  arms: [{name: c, weight: 1}, {name: t, weight: 1}]\n");
  const Assignment only = ByMetadata(recorded, {{"arm", "t"}});
  EXPECT_EQ(only.arm, "t");
  EXPECT_EQ(only.level, nullptr);
  EXPECT_FALSE(only.exposures[0].unit.has_value()) << "its requests are its units";
}

TEST(ExperimentTest, ExposuresTellTheShareOfTheirArm) {
  const auto share = [](const std::string& unit, const std::string& arms) {
    return ExperimentsOf("- name: e\n  unit: " + unit + "\n  arms: " + arms)
        .Assign({.experiment_key = "k"})
        .exposures[0]
        .share;
  };
  const std::string arms = "[{name: c, weight: 3}, {name: none, weight: 0}]";
  EXPECT_EQ(share("request.experiment_key", arms), 1);
  EXPECT_EQ(share("metadata:user", arms), 0) << "it is in none";
  const std::string thirds = "[{name: a, weight: 1}, {name: b, weight: 1}, {name: c, weight: 1}]";
  EXPECT_DOUBLE_EQ(share("request.experiment_key", thirds), 1.0 / 3);
  EXPECT_DOUBLE_EQ(share("window:60s", thirds), 1.0 / 3);
}

TEST(ExperimentTest, GenerationsPartConfigurationsThatDiffer) {
  const auto generation = [](const std::string& yaml) {
    return ExperimentsOf(yaml).Assign({.experiment_key = "k"}).exposures[0].generation.value;
  };
  const std::string yaml = Halves("e", "request.experiment_key");
  std::set<uint64_t> seen{generation(yaml)};
  EXPECT_EQ(generation(yaml + Recorded("other", "ui")), *seen.begin()) << "others do not matter";
  EXPECT_EQ(generation(Halves("e", "request.experiment_key", "  enabled: false\n")), *seen.begin());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = yaml;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  const std::vector<std::string> others = {
      with("salt: s", "salt: r"),
      with("weight: 1}, ", "weight: 2}, "),
      with("name: e", "name: f"),
      with("name: t", "name: u"),
      with("level: deep", "level: full"),
      with("salt: s", "salt: s\n  layer: l"),
      with("salt: s", "salt: s\n  isolate_prefix_cache: false"),
      with("salt: s", "salt: s\n  slice: {to: 0.5}"),
      with("salt: s", "salt: s\n  exclude: {priority_above: 5}")};
  for (const std::string& other : others) {
    EXPECT_TRUE(seen.insert(generation(other)).second) << other;
  }
  const ServerConfig config = ConfigOf(yaml);
  const auto levels = Levels::Make(config, 4, 64);
  const auto of_model = Experiments::Make(config, *levels, /*model=*/7);
  EXPECT_TRUE(
      seen.insert(of_model->Assign({.experiment_key = "k"}).exposures[0].generation.value).second);
}

TEST(ExperimentTest, NamesMistakes) {
  const auto error = [](const std::string& yaml) {
    const auto made = TryExperiments(yaml);
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
      HasSubstr("experiments.e.arms: the arm 'a' appears twice"));
  EXPECT_THAT(error(arms + "[{name: a, level: half, weight: 1}]"),
              HasSubstr("experiments.e.arms.a: no level 'half'; the levels are: full, deep"));
  EXPECT_THAT(error(arms + "[{name: a, weight: 1}, {name: b, level: full, weight: 1}]"),
              HasSubstr("experiments.e.arms: all of them name a level, or none does"));
  EXPECT_THAT(error(arms + "[{name: a/b, level: full, weight: 1}]"),
              HasSubstr("'a/b' is not a name"));
  EXPECT_THAT(error(arms + "[{name: a, level: full, weight: 0}]"),
              HasSubstr("experiments.e.arms: no arm has a weight above 0"));
  EXPECT_THAT(error(Halves("caf\u00e9", "window:60s")), HasSubstr("is not a name"));
}

// An arm above the policy's maximum is a level above it, which no configuration may have.
TEST(ExperimentTest, NoArmIsAboveThePolicy) {
  const ServerConfig config =
      ConfigOf(Halves("e", "request.experiment_key"), "policy: {max_skipped_attention: 1}\n");
  const absl::Status status = Levels::Make(config, 4, 64).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("deep"));
}

int64_t ResidentPages() {
  std::ifstream in("/proc/self/statm");
  int64_t size = 0, resident = 0;
  in >> size >> resident;
  return resident;
}

TEST(ExperimentTest, AMillionUnitsTakeNoMemory) {
  const Experiments experiments =
      ExperimentsOf(Halves("e", "request.experiment_key") + Recorded("ui", "ui"));
  [[maybe_unused]] const int64_t before = ResidentPages();
  int treated = 0;
  for (int i = 0; i < 1000000; ++i) {
    treated += experiments.Assign({.experiment_key = absl::StrFormat("u%d", i)}).arm == "t";
  }
  EXPECT_NEAR(treated, 500000, 2500);
#ifndef __SANITIZE_ADDRESS__  // which keeps what was freed
  EXPECT_LT(ResidentPages() - before, (4 << 20) / 4096);
#endif
}

}  // namespace
}  // namespace skipstone::server
