#include "engine/cpu/thread_pool.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/thread_cpu.h"

namespace skipstone {
namespace {

TEST(ThreadPoolTest, RunsEachTaskOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (const int64_t tasks : {0, 1, 2, 3, 7, 1000}) {
      std::vector<std::atomic<int>> runs(tasks);
      pool.ParallelFor(tasks, [&](int64_t task, int) { ++runs[task]; });
      for (int64_t i = 0; i < tasks; ++i) EXPECT_EQ(runs[i], 1) << i << " of " << tasks;
    }
  }
}

// A thread's scratch memory is its own; effects are visible behind the loop, without atomics.
TEST(ThreadPoolTest, AThreadIndexIsInOnePlaceAtATime) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::array<std::atomic<int>, kThreads> inside{};
  std::array<int64_t, kThreads> sums{};
  std::vector<int64_t> results(64);
  for (int64_t loop = 1; loop <= 2000; ++loop) {
    pool.ParallelFor(std::ssize(results), [&](int64_t task, int thread) {
      ASSERT_TRUE(thread >= 0 && thread < kThreads);
      EXPECT_EQ(++inside[thread], 1);
      sums[thread] += task;
      results[task] = task * loop;
      --inside[thread];
    });
    for (int64_t i = 0; i < std::ssize(results); ++i) ASSERT_EQ(results[i], i * loop);
  }
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), int64_t{0}), 2000 * 63 * 64 / 2);
}

// Each task waits for all others: a thread that does not come, or does not wake, never ends.
void MeetInAllThreads(ThreadPool& pool) {
  std::atomic<int> arrived = 0;
  std::vector<std::thread::id> ids(pool.num_threads());
  pool.ParallelFor(pool.num_threads(), [&](int64_t, int thread) {
    ids[thread] = std::this_thread::get_id();
    ++arrived;
    while (arrived < pool.num_threads()) std::this_thread::yield();
  });
  EXPECT_EQ(ids[0], std::this_thread::get_id()) << "the caller is thread 0";
  for (size_t i = 1; i < ids.size(); ++i) EXPECT_NE(ids[i], ids[i - 1]);
}

TEST(ThreadPoolTest, WaitsForTheLastTaskToEnd) {
  ThreadPool pool(2);
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> begun = 0;
    std::atomic<int> ended = 0;
    pool.ParallelFor(2, [&](int64_t, int thread) {
      ++begun;
      while (begun < 2) std::this_thread::yield();
      if (thread != 0) {
        for (volatile int work = 0; work < 1'000'000;) work = work + 1;
      }
      ++ended;
    });
    ASSERT_EQ(ended, 2);
  }
}

double CpuSeconds() {
  double sum = 0;
  for (const auto& [name, seconds] : CpuSecondsByThread(getpid())) sum += seconds;
  return sum;
}

TEST(ThreadPoolTest, AllThreadsTakePartAlsoAfterASleep) {
  ThreadPool pool(4);
  for (int i = 0; i < 3; ++i) {
    MeetInAllThreads(pool);
    // Longer than workers spin: until this thread has spent many times that.
    for (const double start = CpuSeconds(); CpuSeconds() < start + 0.02;) {
    }
  }
}

TEST(ThreadPoolTest, EndsWhetherItsWorkersSpinOrSleepOrNeverRan) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(3);
    if (i % 2 == 0) MeetInAllThreads(pool);
  }
}

}  // namespace
}  // namespace skipstone
