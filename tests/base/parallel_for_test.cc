#include "base/parallel_for.h"

#include <atomic>
#include <latch>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(ParallelForTest, RunsEachTaskOnceWhateverTheThreads) {
  for (const int threads : {0, 1, 3, 50}) {
    std::vector<std::atomic<int>> calls(20);
    ParallelFor(threads, 20, [&](int64_t i) { ++calls[i]; });
    for (const auto& count : calls) EXPECT_EQ(count, 1) << threads;
  }
}

TEST(ParallelForTest, RunsNothingWithoutTasks) {
  ParallelFor(4, 0, [](int64_t) { ADD_FAILURE(); });
}

TEST(ParallelForTest, RunsTasksAtTheSameTime) {
  std::latch all(3);
  ParallelFor(3, 3, [&](int64_t) { all.arrive_and_wait(); });
}

TEST(ParallelForTest, BlocksDoNotDependOnTheThreads) {
  for (const int threads : {1, 4}) {
    std::vector<int64_t> counts(3);
    ParallelForBlocks(threads, 10, 4,
                      [&](int64_t first, int64_t count) { counts[first / 4] = count; });
    EXPECT_THAT(counts, testing::ElementsAre(4, 4, 2));
  }
}

}  // namespace
}  // namespace skipstone
