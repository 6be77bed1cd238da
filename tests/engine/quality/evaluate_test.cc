#include "engine/quality/evaluate.h"

#include <gtest/gtest.h>

#include "tests/engine/quality/quality_model.h"

namespace skipstone::quality {
namespace {

constexpr int kTokens = 20;

// The full model among sets of which one step does not take all.
class EvaluateTest : public testing::Test {
 protected:
  std::unique_ptr<WindowPass> Pass(int variants) {
    return model_.Pass({.window = kTokens, .variants = variants});
  }
  SkipSet Last(int count) const {
    SkipSet skip(model_.layers());
    for (int i = 1; i <= count; ++i) skip.SkipAttention(model_.layers() - i);
    return skip;
  }
  Windows Text() const { return SomeWindows(2, kTokens, model_.loaded.config.shape.vocab); }

  QualityModel model_;
  const std::vector<SkipSet> sets_ = {Last(3), Last(0), Last(2), Last(1), Last(0)};
};

TEST_F(EvaluateTest, SetsAreWhatTheyAreAlone) {
  auto few = Pass(3);
  const auto together = Evaluate(*few, Text(), sets_, nullptr).value();
  for (size_t i = 0; i < sets_.size(); ++i) {
    auto pass = Pass(2);
    const auto alone = Evaluate(*pass, Text(), {&sets_[i], 1}, nullptr).value();
    ASSERT_EQ(together[i].windows.size(), 2);
    for (size_t window = 0; window < 2; ++window) {
      const WindowSums &sums = together[i].windows[window], &one = alone[0].windows[window];
      EXPECT_EQ(sums.tokens, kTokens - 1);
      EXPECT_EQ(sums.nll, one.nll) << i;
      EXPECT_EQ(sums.kl, one.kl) << i;
      EXPECT_EQ(sums.agrees, one.agrees) << i;
    }
  }
  EXPECT_EQ(together[1].windows[0].kl, 0);
  EXPECT_EQ(together[1].windows[0].agrees, kTokens - 1);
  EXPECT_GT(together[0].windows[0].kl, together[3].windows[0].kl);
}

TEST_F(EvaluateTest, AnswersOfTheFullModelAreItsOwn) {
  const Continuation item{.tokens = Text()[0], .answer = 4};
  auto pass = Pass(4);
  const auto scores = Score(*pass, {&item, 1}, sets_, nullptr).value();
  ASSERT_EQ(scores.size(), sets_.size());
  for (const auto& score : scores) {
    EXPECT_EQ(score[0].full_loglikelihood, scores[1][0].loglikelihood);
  }
  EXPECT_EQ(scores[4][0].loglikelihood, scores[1][0].loglikelihood);
  EXPECT_NE(scores[0][0].loglikelihood, scores[1][0].loglikelihood);
}

}  // namespace
}  // namespace skipstone::quality
