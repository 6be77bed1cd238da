#include "engine/quality/level_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/engine/quality/quality_model.h"

namespace skipstone::quality {
namespace {

TEST(RankerTest, NamesGoBothWays) {
  for (int i = 0; i <= static_cast<int>(Ranker::kGreedyNll); ++i) {
    const auto ranker = static_cast<Ranker>(i);
    EXPECT_EQ(ParseRanker(NameOf(ranker)).value(), ranker);
  }
  const auto wrong = ParseRanker("best");
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()), testing::HasSubstr("greedy-kl"));
}

class SearchTest : public testing::Test {
 protected:
  SearchTest() {
    windows_ = SomeWindows(4, 24, model_.loaded.config.shape.vocab);
    pass_ = model_.Pass({.window = 24, .variants = 8});
    trials_ = std::make_unique<Trials>(*pass_, windows_, none_, Trials::Options());
  }
  std::vector<Level> Chain(const SearchOptions& options, const Scores& scores = {}) {
    return Search(*trials_, options, scores).value();
  }

  QualityModel model_;
  Windows windows_;
  Journal none_;
  std::unique_ptr<WindowPass> pass_;
  std::unique_ptr<Trials> trials_;
};

TEST_F(SearchTest, ChainsAreNestedAndOfTheRightSizes) {
  for (const Ranker ranker : {Ranker::kLast, Ranker::kLastKeepFinal, Ranker::kSingleKl,
                              Ranker::kGreedyKl, Ranker::kGreedyNll}) {
    const auto chain = Chain({.ranker = ranker, .mlp = true, .steps = 4});
    ASSERT_EQ(chain.size(), 4);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(chain[i].skip.SkippedAttention() + chain[i].skip.SkippedMlp(), i + 1);
      if (i > 0) EXPECT_TRUE(chain[i].skip.Contains(chain[i - 1].skip)) << NameOf(ranker);
    }
  }
}

TEST_F(SearchTest, LastIsTheLatterOnes) {
  const int layers = model_.layers();
  const auto last = Chain({.ranker = Ranker::kLast, .steps = 2});
  EXPECT_FALSE(last[1].skip.KeepsAttention(layers - 1));
  EXPECT_FALSE(last[1].skip.KeepsAttention(layers - 2));
  const auto keep = Chain({.ranker = Ranker::kLastKeepFinal, .steps = 1});
  EXPECT_TRUE(keep[0].skip.KeepsAttention(layers - 1));
  EXPECT_FALSE(keep[0].skip.KeepsAttention(layers - 2));
  const auto suffix = Chain({.ranker = Ranker::kGreedyKl, .steps = 2, .suffix = true});
  EXPECT_EQ(suffix[1].skip, last[1].skip);
}

TEST_F(SearchTest, ScoresOrderTheChain) {
  Scores scores(model_.layers(), 1.0);
  scores[1] = 0.5;
  scores[0] = 0.7;
  const auto chain = Chain({.ranker = Ranker::kGateNorm, .steps = 2}, scores);
  EXPECT_FALSE(chain[0].skip.KeepsAttention(1));
  EXPECT_FALSE(chain[1].skip.KeepsAttention(0));
}

// With the whole pool each step takes the best of all that are left.
TEST_F(SearchTest, GreedyTakesTheLeastOfEachStep) {
  const auto chain = Chain({.ranker = Ranker::kGreedyKl, .steps = 2, .pool = 0});
  for (int step = 0; step < 2; ++step) {
    const Level base = step == 0 ? Level{.skip = SkipSet(model_.layers())} : chain[0];
    double least = std::numeric_limits<double>::infinity();
    for (int layer = 0; layer < model_.layers(); ++layer) {
      if (!base.skip.KeepsAttention(layer)) continue;
      least = std::min(least, trials_->Measure(With(base, {.point = AttentionPoint(layer)}))->kl);
    }
    EXPECT_EQ(trials_->Measure(chain[step])->kl, least) << step;
  }
}

TEST_F(SearchTest, ChoosesUnderMaps) {
  const auto chain =
      Chain({.ranker = Ranker::kGreedyKl, .steps = 2, .form = MapForm{MapForm::Kind::kDiagonal}});
  EXPECT_EQ(chain[1].fitted.size(), 2);
  EXPECT_LT(trials_->Measure(chain[1])->kl, trials_->Measure(Level{.skip = chain[1].skip})->kl);
}

TEST_F(SearchTest, RefusesMoreThanThereIs) {
  const auto search = Search(*trials_, {.steps = model_.layers() + 1}, {});
  EXPECT_EQ(search.status().code(), absl::StatusCode::kInvalidArgument);
}

// All ways of taking one option of each item.
double BruteForce(const std::vector<KnapsackItem>& items, double wanted, size_t i = 0) {
  if (i == items.size()) {
    return wanted <= 1e-12 ? 0 : std::numeric_limits<double>::infinity();
  }
  double least = std::numeric_limits<double>::infinity();
  for (const KnapsackOption& option : items[i]) {
    least = std::min(least, option.cost + BruteForce(items, wanted - option.saving, i + 1));
  }
  return least;
}

TEST(KnapsackTest, EqualsAllWays) {
  uint64_t seed = 1;
  const auto random = [&](int most) {
    return static_cast<double>((seed = Mix64(seed + 1)) % static_cast<uint64_t>(most));
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<KnapsackItem> items(6);
    double most = 0;
    for (KnapsackItem& item : items) {
      item = {{0, 0}, {1 + random(50), 1 + random(8)}, {1 + random(90), 4 + random(8)}};
      most += std::max(item[1].saving, item[2].saving);
    }
    const double wanted = 1 + std::floor(most * 0.6);
    const auto chosen = Knapsack(items, wanted).value();
    double cost = 0, saving = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      cost += items[i][chosen[i]].cost;
      saving += items[i][chosen[i]].saving;
    }
    EXPECT_GE(saving, wanted);
    EXPECT_EQ(cost, BruteForce(items, wanted)) << round;
  }
}

TEST(KnapsackTest, SaysWhatIsTooMuch) {
  const std::vector<KnapsackItem> items = {{{0, 0}, {1, 2}}, {{0, 0}, {1, 3}}};
  EXPECT_EQ(Knapsack(items, 0).value(), (std::vector<int>{0, 0}));
  EXPECT_EQ(Knapsack(items, 5).value(), (std::vector<int>{1, 1}));
  const auto too_much = Knapsack(items, 5.1);
  EXPECT_EQ(too_much.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(too_much.status().message()), testing::HasSubstr("5"));
}

}  // namespace
}  // namespace skipstone::quality
