// Lines for a reader that reads, one that stalls and one that is gone.
#include "server/log_writer.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

// Far more than a writer needs, far less than for ever.
constexpr Duration kLong = std::chrono::seconds(30);

// A pipe that holds one page.
class Pipe {
 public:
  Pipe() {
    EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
    EXPECT_EQ(fcntl(ends_[1], F_SETPIPE_SZ, 4096), 4096);
  }
  ~Pipe() {
    CloseReader();
    close(ends_[1]);
  }
  int writer() const { return ends_[1]; }
  void CloseReader() {
    if (ends_[0] >= 0) close(ends_[0]);
    ends_[0] = -1;
  }
  std::string Read(size_t bytes) {
    std::string text(bytes, '\0');
    const ssize_t n = read(ends_[0], text.data(), bytes);
    text.resize(std::max<ssize_t>(0, n));
    return text;
  }

 private:
  int ends_[2];
};

TEST(LogWriterTest, LinesComeOutWholeAndInOrder) {
  Pipe pipe;
  LogWriter writer(pipe.writer(), 1 << 20);
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    writer.Write(line);
    expected += line;
  }
  writer.Write(std::string(10000, 'x') + "\n");  // longer than what one write takes
  expected += std::string(10000, 'x') + "\n";
  std::string text;
  while (text.size() < expected.size()) text += pipe.Read(512);
  EXPECT_EQ(text, expected);
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(writer.counts().dropped, 0);
  EXPECT_EQ(writer.counts().written, 1001);
}

TEST(LogWriterTest, AReaderThatStallsHoldsNobodyAndLosesTheOldestLines) {
  Pipe pipe;
  constexpr int kLines = 20000;
  constexpr size_t kMost = 100000;
  LogWriter writer(pipe.writer(), kMost);
  const auto line = [](int i) { return std::to_string(1000000 + i) + "\n"; };
  for (int i = 0; i < kLines; ++i) writer.Write(line(i));
  EXPECT_GT(writer.counts().dropped, 0);
  EXPECT_FALSE(writer.Flush(std::chrono::milliseconds(1)));
  // It wakes up: what was kept is whole, in order, and the last that was said.
  std::string text;
  while (!text.ends_with(line(kLines - 1))) text += pipe.Read(4096);
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n') + writer.counts().dropped, kLines);
  EXPECT_LE(text.size(), kMost + 3 * 4096);
  int last = -1;
  for (size_t at = 0; at < text.size(); at += line(0).size()) {
    const int i = std::stoi(text.substr(at, line(0).size())) - 1000000;
    EXPECT_GT(i, last);
    last = i;
  }
}

TEST(LogWriterTest, ItsEndWaitsForNobody) {
  Pipe pipe;
  const Time start = SystemClock().Now();
  {
    LogWriter writer(pipe.writer(), 1 << 20);
    for (int i = 0; i < 100; ++i) writer.Write(std::string(1000, 'x') + "\n");
    EXPECT_FALSE(writer.Flush(std::chrono::milliseconds(50)));
  }
  EXPECT_LT(SystemClock().Now() - start, kLong);
}

TEST(LogWriterTest, WhatNobodyWillEverReadIsDropped) {
  Pipe pipe;
  signal(SIGPIPE, SIG_IGN);
  pipe.CloseReader();
  LogWriter writer(pipe.writer(), 1 << 20);
  writer.Write("one\n");
  EXPECT_TRUE(writer.Flush(kLong));
  writer.Write("two\n");
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(writer.counts().failed, 2);
  EXPECT_EQ(writer.counts().dropped + writer.counts().written, 0);
}

TEST(LogWriterTest, TicksWhileNothingIsWritten) {
  Pipe pipe;
  std::atomic<int> ticks{0};
  LogWriter writer(pipe.writer(), 1 << 20, [&] { ++ticks; });
  const Time deadline = SystemClock().Now() + kLong;
  while (ticks < 2 && SystemClock().Now() < deadline) std::this_thread::yield();
  EXPECT_GE(ticks, 2);
}

// Else a SIGTERM that the main thread waits for would end the process here.
TEST(LogWriterTest, ItsThreadTakesNoSignals) {
  Pipe pipe;
  std::atomic<int> blocked{-1};
  LogWriter writer(pipe.writer(), 1 << 20, [&] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGTERM);
  });
  const Time deadline = SystemClock().Now() + kLong;
  while (blocked < 0 && SystemClock().Now() < deadline) std::this_thread::yield();
  EXPECT_EQ(blocked, 1);
  sigset_t own;
  pthread_sigmask(SIG_SETMASK, nullptr, &own);
  EXPECT_EQ(sigismember(&own, SIGTERM), 0);
}

TEST(LogWriterTest, WriteWithinGivesUp) {
  Pipe pipe;
  EXPECT_TRUE(WriteWithin(pipe.writer(), "READY\n", kLong));
  EXPECT_EQ(pipe.Read(100), "READY\n");
  EXPECT_FALSE(WriteWithin(pipe.writer(), std::string(100000, 'x'), std::chrono::milliseconds(30)));
}

}  // namespace
}  // namespace skipstone::server
