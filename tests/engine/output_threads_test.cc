#include "engine/output_threads.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/recording_sink.h"

namespace skipstone {
namespace {

class OutputThreadsTest : public testing::Test {
 protected:
  // Events of one request of `call`, counted by their index.
  std::vector<OutputEvent> Events(uint64_t call, int count, int first = 0) {
    EngineRequest request{.id = std::to_string(call), .prompt = {1}, .skip = SkipSet(4)};
    request.call = call;
    const auto live = std::make_shared<LiveRequest>(
        request, Recording::Sink(std::make_shared<Recording>()),
        LiveRequest::Context{*tokenizer_, observer_, SystemClock(), 4});
    std::vector<OutputEvent> events;
    for (int i = 0; i < count; ++i) events.push_back({live, OutputEnded{.index = first + i}});
    return events;
  }

  EngineObserver observer_;
  std::shared_ptr<const Tokenizer> tokenizer_ = MakeSyntheticTokenizer(100);
};

TEST_F(OutputThreadsTest, KeepTheOrderOfACall) {
  OutputThreads output(3, 1 << 20, observer_, SystemClock());
  output.set_on_room([] {});
  std::vector<std::vector<std::pair<uint64_t, int>>> seen(output.size());
  std::vector<std::thread> threads;
  for (int i = 0; i < output.size(); ++i) {
    threads.emplace_back([&, i] {
      output.Run(i, [&](OutputEvent& event) {
        seen[i].emplace_back(event.request->request().call,
                             std::get<OutputEnded>(event.what).index);
      });
    });
  }
  for (int batch = 0; batch < 50; ++batch) {
    for (uint64_t call = 0; call < 6; ++call) {
      std::vector<OutputEvent> events = Events(call, 2, 2 * batch);
      output.Push(events);
      EXPECT_TRUE(events.empty());
    }
  }
  output.Close();
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < output.size(); ++i) {
    int next[6] = {};
    for (const auto& [call, index] : seen[i]) {
      EXPECT_EQ(static_cast<int>(call % 3), i);
      EXPECT_EQ(index, next[call]++);
    }
    EXPECT_EQ(seen[i].size(), 200u) << "all that was pushed before Close";
  }
}

TEST_F(OutputThreadsTest, AreFullAtTheLimitAndSayWhenHalfIsFree) {
  OutputThreads output(1, 10, observer_, SystemClock());
  int rooms = 0;
  int left = 0;
  output.set_on_room([&] {
    ++rooms;
    EXPECT_EQ(left, 5);
  });
  std::vector<OutputEvent> events = Events(0, 4);
  Updated updated;
  updated.update.prompt.resize(5);  // log-probabilities count
  events[0].what = std::move(updated);
  output.Push(events);
  EXPECT_FALSE(output.Full());
  events = Events(0, 3);
  output.Push(events);
  EXPECT_TRUE(output.Full());
  left = 12;
  output.Close();
  output.Run(
      0, [&](OutputEvent& event) { left -= std::holds_alternative<Updated>(event.what) ? 6 : 1; });
  EXPECT_EQ(left, 0);
  EXPECT_EQ(rooms, 1);
  EXPECT_FALSE(output.Full());
}

TEST_F(OutputThreadsTest, SaySinceWhenAnEventIsHandled) {
  OutputThreads output(2, 10, observer_, SystemClock());
  EXPECT_EQ(output.handling_since(), kNever);
  std::vector<OutputEvent> events = Events(1, 1);
  output.Push(events);
  output.Close();
  const Time before = SystemClock().Now();
  output.Run(1, [&](OutputEvent&) { EXPECT_GE(output.handling_since(), before); });
  EXPECT_EQ(output.handling_since(), kNever);
}

TEST_F(OutputThreadsTest, SayWhichEventsComeTogether) {
  struct Seen : OutputBatches {
    void OnBatch(size_t events) override { said += "(" + std::to_string(events) + ":"; }
    void OnBatchEnd() override { said += ")"; }
    std::string said;
  } seen;
  OutputThreads output(1, 100, observer_, SystemClock(), &seen);
  for (const int count : {2, 1}) {
    std::vector<OutputEvent> events = Events(0, count);
    output.Push(events);
  }
  output.Close();
  output.Run(0, [&](OutputEvent&) { seen.said += "x"; });
  EXPECT_EQ(seen.said, "(3:xxx)");
}

}  // namespace
}  // namespace skipstone
