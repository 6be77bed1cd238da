#include "engine/cpu/attend_values.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/engine/cpu/instruction_sets.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

class AttendValuesTest : public InstructionSetTest {
 protected:
  // Merges the scores block by block and compares with float64's softmax over all of them.
  static void Check(int dim, const std::vector<std::vector<float>>& blocks) {
    std::vector<float> output(dim, 0.0f);
    SoftmaxState state{-std::numeric_limits<float>::infinity(), 0.0f, output.data()};
    std::vector<double> scores;
    std::vector<std::vector<float>> values;
    for (std::vector<float> block : blocks) {
      std::vector<const float*> rows;
      const size_t first = values.size();
      for (const float score : block) {
        scores.push_back(score);
        values.push_back(RandomFloats(dim, values.size()));
      }
      for (size_t i = first; i < values.size(); ++i) rows.push_back(values[i].data());
      const int n = static_cast<int>(block.size());
      block.resize((n + kScoreUnit - 1) / kScoreUnit * kScoreUnit, std::nanf(""));
      MergeBlock(n, block.data(), rows.data(), dim, state);
    }
    const double max = *std::ranges::max_element(scores);
    EXPECT_NEAR(state.max, max, 1e-6 * std::abs(max));
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - max);
    EXPECT_NEAR(state.sum / sum, 1, 1e-4);
    for (int d = 0; d < dim; ++d) {
      double expected = 0;
      for (size_t t = 0; t < scores.size(); ++t) {
        expected += std::exp(scores[t] - max) / sum * values[t][d];
      }
      ASSERT_NEAR(output[d] / state.sum, expected, 1e-5) << "dim " << d << " of " << dim;
    }
  }
};

TEST_P(AttendValuesTest, BlocksMergeIntoOneSoftmax) {
  for (const int dim : {8, 16, 24, 40, 64, 72, 128, 256}) {
    for (const std::vector<int>& lengths :
         {std::vector{1}, {64}, {64, 1}, {64, 64, 37}, {3, 64, 2}}) {
      std::vector<std::vector<float>> blocks;
      for (const int n : lengths) blocks.push_back(RandomFloats(n, n + blocks.size(), 2.25f));
      Check(dim, blocks);
    }
  }
}

// What came before counts for nothing, or all of it: nothing overflows.
TEST_P(AttendValuesTest, ScoresMayBeFarApart) {
  Check(16, {{-5000.0f, -4999.0f}, {5000.0f, 4998.0f, 1.0f}});
  Check(16, {{5000.0f, 4998.0f}, {-5000.0f}, {4999.0f}});
}

SKIPSTONE_ON_INSTRUCTION_SETS(AttendValuesTest);

}  // namespace
}  // namespace skipstone
