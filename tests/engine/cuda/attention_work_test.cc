#include "engine/cuda/kernels/attention_work.h"

#include <gtest/gtest.h>

#include <vector>

namespace skipstone::cuda {
namespace {

std::vector<int32_t> SeenBy(int32_t position, int32_t window, int32_t sink) {
  std::vector<int32_t> seen;
  for (int32_t p = 0; p <= position; ++p) {
    if (window == 0 || p < sink || position - p < window) seen.push_back(p);
  }
  return seen;
}

TEST(GapTest, LeavesThePositionsThatARowSees) {
  for (const int32_t sink : {0, 1, 3, 16}) {
    for (const int32_t window : {0, 1, 8, 16}) {
      for (int32_t position = 0; position < 60; ++position) {
        const Gap gap = Gap::Before(position, window, sink);
        std::vector<int32_t> positions;
        for (int32_t i = 0; i < position + 1 - gap.size; ++i) {
          positions.push_back(gap.PositionOf(i));
        }
        ASSERT_EQ(positions, SeenBy(position, window, sink))
            << "position " << position << " window " << window << " sink " << sink;
      }
    }
  }
}

}  // namespace
}  // namespace skipstone::cuda
