#include "engine/schedule/attribution.h"

#include <numeric>
#include <random>

#include "engine/schedule/row_lists.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kPageTokens = 16;
constexpr int kLayers = 4;
constexpr ModelWork kWork{.query_bytes = 200,
                          .kv_bytes = 100,
                          .mlp_bytes = 600,
                          .head_bytes = 500,
                          .kv_token_bytes = 3,
                          .rows_per_read = 8};

// A plan of chunks whose tokens do not matter.
class Plan {
 public:
  void Add(const SkipSet& skip, int first_position, int rows, int logits_rows) {
    plan_.chunks.push_back({.sequence = plan_.chunks.size(),
                            .slot = static_cast<int32_t>(plan_.chunks.size()),
                            .set = plan_.SetOf(skip),
                            .first_position = first_position,
                            .num_rows = rows,
                            .first_token = static_cast<int32_t>(plan_.tokens.size()),
                            .logits_rows = logits_rows,
                            .samples = logits_rows > 0});
    plan_.tokens.resize(plan_.tokens.size() + rows);
    plan_.num_rows += rows;
  }
  const StepPlan& get() const { return plan_; }

 private:
  StepPlan plan_;
};

SkipSet Skip(const std::string& spec) { return *ParseSkipSet(spec, kLayers); }

TEST(AttributionTest, EqualSequencesShareEqually) {
  const SkipSet skip = Skip("attn:last=1");
  Plan plan;
  for (int i = 0; i < 5; ++i) plan.Add(skip, 10, 1, 1);
  Attribution attribution(kWork, kPageTokens);
  for (const double share : attribution.Shares(plan.get())) EXPECT_NEAR(share, 0.2, 1e-12);
}

TEST(AttributionTest, WeighsADecodeStepOfTwoSkipSets) {
  const SkipSet full = Skip("none");
  const SkipSet half = Skip("attn:last=2");
  Plan plan;
  plan.Add(full, 9, 1, 1);
  plan.Add(half, 19, 1, 1);
  // Shared halves of 2 attention and 4 MLP sublayers and the head, 2 attention alone; a row's
  // multiply-adds are an eighth of the weights it meets.
  const double shared = (2 * 300 + 4 * 600 + 500) / 2.0;
  const double first = shared + 2 * 300 + (4 * 300 + 4 * 600 + 500) / 8.0 + 4 * 10 * 3;
  const double second = shared + (2 * 300 + 4 * 600 + 500) / 8.0 + 2 * 20 * 3;
  Attribution attribution(kWork, kPageTokens);
  const auto shares = attribution.Shares(plan.get());
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_NEAR(shares[0], first / (first + second), 1e-12);
  EXPECT_NEAR(shares[1], second / (first + second), 1e-12);
}

TEST(AttributionTest, RowsThatLivenessDropsCostNothing) {
  const SkipSet none_kept = Skip("attn:0-3");
  const SkipSet full = Skip("none");
  Plan plan;
  plan.Add(none_kept, 0, 50, 0);
  plan.Add(full, 0, 50, 0);
  Attribution attribution(kWork, kPageTokens);
  const auto shares = attribution.Shares(plan.get());
  EXPECT_EQ(shares[0], 0);
  EXPECT_EQ(shares[1], 1);
  Plan alone;
  alone.Add(none_kept, 0, 50, 0);
  EXPECT_EQ(attribution.Shares(alone.get())[0], 1) << "the shares add up to 1 all the same";
}

// The same work, counted from the row lists: row by row and matrix by matrix.
std::vector<double> SharesByRows(const StepPlan& plan) {
  RowLists rows(kLayers, kPageTokens, /*liveness=*/true);
  rows.Build(plan);
  const StepInput& input = rows.input();
  std::vector<double> work(plan.chunks.size());
  const auto add = [&](const RowList& list, double bytes, double per_sequence) {
    std::vector<int> count(plan.chunks.size());
    for (int i = 0; i < list.count; ++i) ++count[input.slots[list[i]]];
    const auto users = std::count_if(count.begin(), count.end(), [](int n) { return n > 0; });
    for (size_t c = 0; c < count.size(); ++c) {
      if (count[c] == 0) continue;
      work[c] += bytes / users + count[c] * bytes / kWork.rows_per_read;
      const auto& chunk = plan.chunks[c];
      work[c] += per_sequence * (chunk.first_position + chunk.num_rows);
    }
  };
  for (const LayerRows& layer : input.layers) {
    add(layer.kv_rows, kWork.kv_bytes, 0);
    add(layer.query_rows, kWork.query_bytes, kWork.kv_token_bytes);
    add(layer.mlp_rows, kWork.mlp_bytes, 0);
  }
  add({.begin = 0, .count = static_cast<int>(input.logits.size())}, kWork.head_bytes, 0);
  const double total = std::accumulate(work.begin(), work.end(), 0.0);
  for (double& w : work) w /= total;
  return work;
}

TEST(AttributionTest, EqualsTheWorkOfTheRowLists) {
  const std::vector<SkipSet> skips = {Skip("none"),           Skip("attn:last=1"),
                                      Skip("attn:last=3"),    Skip("attn:0-3"),
                                      Skip("attn:0,2+mlp:1"), Skip("block:last=2")};
  std::mt19937 random(7);
  Attribution attribution(kWork, kPageTokens);
  for (int round = 0; round < 200; ++round) {
    Plan plan;
    const int chunks = 1 + random() % 12;
    for (int i = 0; i < chunks; ++i) {
      const int rows = 1 + random() % 9;
      // One chunk at least that is work.
      const int logits = i == 0 ? 1 : random() % (rows + 1);
      plan.Add(skips[random() % skips.size()], random() % 50, rows, logits);
    }
    const auto shares = attribution.Shares(plan.get());
    const std::vector<double> expected = SharesByRows(plan.get());
    ASSERT_EQ(shares.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(shares[i], expected[i], 1e-12) << "round " << round << ", chunk " << i;
    }
  }
}

}  // namespace
}  // namespace skipstone
