#include "engine/quality/trials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/quality/quality_model.h"
#include "tests/support/temp_dir.h"

namespace skipstone::quality {
namespace {

constexpr int kTokens = 24;

// Costs of all single attention sublayers, and of a level with maps.
std::vector<double> AllCosts(int threads, int variants, Journal& journal, int fail_after = -1) {
  QualityModel model(threads);
  auto pass = model.Pass({.window = kTokens, .variants = variants});
  const Windows windows = SomeWindows(4, kTokens, model.loaded.config.shape.vocab);
  auto trials = std::make_unique<Trials>(*pass, windows, journal, Trials::Options());
  std::vector<Candidate> candidates;
  for (int layer = 0; layer < model.layers(); ++layer) {
    candidates.push_back({.point = AttentionPoint(layer)});
    candidates.push_back({.point = MlpPoint(layer)});
  }
  std::vector<double> costs;
  const auto add = [&](const Cost& cost) { costs.insert(costs.end(), {cost.kl, cost.nll}); };
  const Level full{.skip = SkipSet(model.layers())};
  const std::vector<Cost> singles = trials->Measure(full, candidates).value();
  for (const Cost& cost : singles) add(cost);
  if (fail_after == 0) return costs;
  SkipSet latter(model.layers());
  latter.SkipAttention(model.layers() - 1);
  latter.SkipAttention(model.layers() - 2);
  Level level{.skip = latter};
  add(trials->Measure(level).value());
  level.fitted = trials->Fit(latter, {MapForm::Kind::kDiagonal}).value();
  add(trials->Measure(level).value());
  return costs;
}

TEST(TrialsTest, EqualToTheBitAtAnyThreadsStepsAndInterruptions) {
  Journal none;
  const std::vector<double> expected = AllCosts(1, 2, none);
  EXPECT_EQ(AllCosts(2, 2, none), expected);
  EXPECT_EQ(AllCosts(2, 7, none), expected);
  TempDir dir;
  {
    Journal journal = Journal::Open(dir.path() + "/j", "run").value();
    AllCosts(2, 5, journal, 0);
  }
  Journal journal = Journal::Open(dir.path() + "/j", "run").value();
  EXPECT_EQ(AllCosts(1, 3, journal), expected);
  EXPECT_EQ(AllCosts(1, 3, journal), expected);
}

TEST(TrialsTest, CostsArePositiveAndMapsBringSomeBack) {
  Journal none;
  const std::vector<double> costs = AllCosts(2, 4, none);
  for (size_t i = 0; i < costs.size(); i += 2) EXPECT_GT(costs[i], 0) << i;
  // The fitted level, on the text of its fit, against the plain one.
  EXPECT_LT(costs[costs.size() - 2], costs[costs.size() - 4]);
}

TEST(TrialsTest, TheFullModelCostsNothing) {
  QualityModel model;
  auto pass = model.Pass({.window = kTokens, .variants = 2});
  const Windows windows = SomeWindows(2, kTokens, model.loaded.config.shape.vocab);
  Journal none;
  auto trials = std::make_unique<Trials>(*pass, windows, none, Trials::Options());
  EXPECT_EQ(trials->Measure(Level{.skip = SkipSet(model.layers())})->kl, 0);
}

TEST(TrialsTest, AWindowedLayerIsACandidate) {
  QualityModel model;
  auto pass = model.Pass({.window = 64, .variants = 3});
  const Windows windows = SomeWindows(2, 64, model.loaded.config.shape.vocab);
  Journal none;
  auto trials = std::make_unique<Trials>(*pass, windows, none, Trials::Options());
  const Candidate candidates[] = {{.point = AttentionPoint(1), .window = 16},
                                  {.point = AttentionPoint(1)}};
  const Level full{.skip = SkipSet(model.layers())};
  const auto costs = trials->Measure(full, candidates).value();
  EXPECT_GT(costs[0].kl, 0);
  EXPECT_LT(costs[0].kl, costs[1].kl);
  EXPECT_EQ(costs[0].kl, trials->Measure(With(full, candidates[0]))->kl);
}

}  // namespace
}  // namespace skipstone::quality
