#include "server/write_batches.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "server/unique_fd.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;

class WriteBatchesTest : public testing::Test {
 protected:
  WriteBatchesTest() {
    for (UniqueFd& fd : sockets_) {
      fd = UniqueFd(socket(AF_INET, SOCK_STREAM, 0));
      EXPECT_GE(fd.get(), 0);
    }
  }
  int socket_fd(int i = 0) const { return sockets_[i].get(); }
  bool Gathers(int i = 0) const {
    int on = 0;
    socklen_t size = sizeof(on);
    EXPECT_EQ(getsockopt(socket_fd(i), IPPROTO_TCP, TCP_CORK, &on, &size), 0);
    return on != 0;
  }
  Duration AwaitTakes() {
    const Time start = SystemClock().Now();
    batches_.AwaitBatch();
    return SystemClock().Now() - start;
  }
  // The shortest of some: the machine may have other things to do.
  Duration AwaitTakesAtLeast() {
    Duration least = AwaitTakes();
    for (int i = 0; i < 20; ++i) least = std::min(least, AwaitTakes());
    return least;
  }

  WriteBatches batches_{[](const std::string& peer) { return peer == "a" ? 7 : -1; }};

 private:
  UniqueFd sockets_[2];
};

TEST_F(WriteBatchesTest, AskForTheSocketOfAPeer) {
  EXPECT_EQ(batches_.SocketOf("a"), 7);
  EXPECT_EQ(batches_.SocketOf("b"), -1);
}

TEST_F(WriteBatchesTest, GatherWhatGoesToOneConnection) {
  batches_.OnBatch(20);
  batches_.BeforeWrite(socket_fd(0));
  EXPECT_FALSE(Gathers(0)) << "it may be alone";
  for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd(0));
  batches_.BeforeWrite(socket_fd(1));
  batches_.BeforeWrite(-1);
  EXPECT_TRUE(Gathers(0));
  EXPECT_FALSE(Gathers(1));
  batches_.OnBatchEnd();
  EXPECT_FALSE(Gathers(0));
}

TEST_F(WriteBatchesTest, GatherNothingOutsideOfLargeBatches) {
  for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd());
  EXPECT_FALSE(Gathers());
  batches_.OnBatch(7);
  for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd());
  EXPECT_FALSE(Gathers());
  batches_.OnBatchEnd();
  batches_.OnBatch(20);
  std::thread([&] {
    for (int i = 0; i < 9; ++i) batches_.BeforeWrite(socket_fd());
  }).join();
  EXPECT_FALSE(Gathers()) << "another thread's writes are not of the batch";
  batches_.OnBatchEnd();
}

TEST_F(WriteBatchesTest, AwaitTheEndOfTheBatch) {
  EXPECT_LT(AwaitTakesAtLeast(), milliseconds(1)) << "there is none";
  batches_.OnBatch(20);
  EXPECT_LT(AwaitTakesAtLeast(), milliseconds(1)) << "its own thread would wait for itself";
  Duration first{};
  Duration second{};
  std::thread waiter([&] {
    first = AwaitTakes();
    second = AwaitTakesAtLeast();
  });
  waiter.join();
  batches_.OnBatchEnd();
  EXPECT_GE(first, milliseconds(1)) << "the batch did not end before";
  EXPECT_LT(second, first) << "other calls come first";
}

TEST_F(WriteBatchesTest, ABatchThatEndsWakesWhoAwaitsIt) {
  int ended = 0;
  for (int i = 0; i < 50; ++i) {
    batches_.OnBatch(20);
    Duration waited{};
    std::thread waiter([&] { waited = AwaitTakes(); });
    batches_.OnBatchEnd();
    waiter.join();
    ended += waited < milliseconds(1) ? 1 : 0;
  }
  EXPECT_GT(ended, 0);
}

}  // namespace
}  // namespace skipstone::server
