#include "client/cli/parallel_calls.h"

#include <atomic>
#include <barrier>
#include <sstream>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

class ParallelCallsTest : public testing::Test {
 protected:
  std::ostringstream out_;
  ProgressLine progress_{out_, /*terminal=*/false};
};

TEST_F(ParallelCallsTest, EachIsCalledOnce) {
  for (const size_t threads : {1, 3, 50}) {
    std::vector<std::atomic<int>> calls(20);
    EXPECT_TRUE(CallInParallel(
                    calls.size(), threads,
                    [&](size_t i) {
                      ++calls[i];
                      return absl::OkStatus();
                    },
                    progress_)
                    .ok());
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

TEST_F(ParallelCallsTest, SoManyRunAtOnce) {
  // Ends only if four wait at the same time.
  std::barrier<> meet(4);
  EXPECT_TRUE(CallInParallel(
                  8, 4,
                  [&](size_t) {
                    meet.arrive_and_wait();
                    return absl::OkStatus();
                  },
                  progress_)
                  .ok());
}

TEST_F(ParallelCallsTest, NothingIsStartedBehindAnError) {
  std::atomic<int> calls = 0;
  const absl::Status status = CallInParallel(
      1000, 2,
      [&](size_t i) {
        ++calls;
        return i == 5 ? absl::NotFoundError("five") : absl::OkStatus();
      },
      progress_);
  EXPECT_EQ(status, absl::NotFoundError("five"));
  // The other thread may have been anywhere when the error came, but ended then.
  EXPECT_GE(calls, 6);
  EXPECT_LE(calls, 1000);
  calls = 0;
  EXPECT_FALSE(CallInParallel(
                   1000, 1,
                   [&](size_t i) {
                     ++calls;
                     return i == 5 ? absl::NotFoundError("five") : absl::OkStatus();
                   },
                   progress_)
                   .ok());
  EXPECT_EQ(calls, 6);
}

TEST_F(ParallelCallsTest, NoCallsAreFine) {
  EXPECT_TRUE(CallInParallel(
                  0, 4, [](size_t) { return absl::InternalError("called"); }, progress_)
                  .ok());
}

}  // namespace
}  // namespace skipstone::client
