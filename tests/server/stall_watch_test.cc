#include "server/stall_watch.h"

#include <atomic>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;

TEST(StallWatchTest, ReportsAWriteThatTakesTooLongOnce) {
  StallWatch watch(milliseconds(20));
  std::atomic<int> stalls{0};
  std::atomic<int> later{0};
  const auto stream = watch.Add([&] { ++stalls; });
  stream->WriteStarted();
  ASSERT_TRUE(Eventually([&] { return stalls == 1; }));
  // When a stream that stalled later was reported, another scan has seen the first one.
  const auto other = watch.Add([&] { ++later; });
  other->WriteStarted();
  ASSERT_TRUE(Eventually([&] { return later == 1; }));
  EXPECT_EQ(stalls, 1);
}

TEST(StallWatchTest, LeavesOthersAlone) {
  StallWatch watch(milliseconds(20));
  std::atomic<int> wrong{0};
  std::atomic<int> stalls{0};
  const auto idle = watch.Add([&] { ++wrong; });
  const auto written = watch.Add([&] { ++wrong; });
  written->WriteStarted();
  written->WriteDone();
  const auto ended = watch.Add([&] { ++wrong; });
  ended->WriteStarted();
  ended->End();
  auto gone = watch.Add([&] { ++wrong; });
  gone->WriteStarted();
  gone.reset();
  const auto stalled = watch.Add([&] { ++stalls; });
  stalled->WriteStarted();
  ASSERT_TRUE(Eventually([&] { return stalls == 1; }));
  EXPECT_EQ(wrong, 0);
}

// As when what is done about a stall ends the call before it returns.
TEST(StallWatchTest, AStreamMayEndWithinItsReport) {
  StallWatch watch(milliseconds(20));
  std::atomic<bool> ended{false};
  std::shared_ptr<StallWatch::Stream> stream;
  stream = watch.Add([&] {
    stream->End();
    ended = true;
  });
  stream->WriteStarted();
  EXPECT_TRUE(Eventually([&] { return ended.load(); }));
}

}  // namespace
}  // namespace skipstone::server
