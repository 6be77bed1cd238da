#include "engine/live_calls.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/recording_sink.h"

namespace skipstone {
namespace {

class LiveCallsTest : public testing::Test {
 protected:
  EngineRequest Request(const std::string& id, uint64_t call, const std::string& owner = "") {
    EngineRequest request{.id = id, .prompt = {1}, .skip = SkipSet(2)};
    request.call = call;
    request.owner = owner;
    request.tenant = "t";
    return request;
  }
  std::shared_ptr<LiveRequest> Enter(const EngineRequest& request) {
    EXPECT_FALSE(calls_.IsTaken(request));
    auto live = std::make_shared<LiveRequest>(
        request, Recording::Sink(std::make_shared<Recording>()),
        LiveRequest::Context{*tokenizer_, observer_, SystemClock(), 16});
    calls_.Enter(live);
    return live;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = MakeSyntheticTokenizer(100);
  EngineObserver observer_;
  LiveCalls calls_;
};

TEST_F(LiveCallsTest, AnIdBelongsToOneCall) {
  const auto first = Enter(Request("job", 1));
  EXPECT_TRUE(calls_.IsTaken(Request("job", 2)));
  EXPECT_FALSE(calls_.IsTaken(Request("job#0", 2))) << "ids are not put together";
  const auto second = Enter(Request("job", 1));  // the next item of the call
  EXPECT_EQ(calls_.Of("job", 1).size(), 2u);
  EXPECT_TRUE(calls_.Of("job", 2).empty());
  calls_.Leave(first);
  EXPECT_TRUE(calls_.IsTaken(Request("job", 2)));
  calls_.Leave(second);
  EXPECT_FALSE(calls_.IsTaken(Request("job", 2)));
  EXPECT_TRUE(calls_.empty());
}

TEST_F(LiveCallsTest, AnOpenCallKeepsItsIdBetweenItsRequests) {
  EngineRequest first = Request("job", 1);
  first.more_follow = true;
  calls_.Leave(Enter(first));
  EXPECT_TRUE(calls_.IsTaken(Request("job", 2))) << "its next request comes";
  calls_.Leave(Enter(Request("job", 1)));
  EXPECT_FALSE(calls_.IsTaken(Request("job", 2)));
  const auto live = Enter(first);
  calls_.Close("job", 2);
  calls_.Close("other", 1);
  calls_.Close("job", 1);
  EXPECT_TRUE(calls_.IsTaken(Request("job", 2))) << "one of it is still live";
  calls_.Leave(live);
  EXPECT_TRUE(calls_.empty());
  calls_.Leave(Enter(first));
  calls_.Close("job", 1);
  EXPECT_TRUE(calls_.empty()) << "the next one was refused";
}

TEST_F(LiveCallsTest, WithoutACallARequestStandsForItself) {
  Enter(Request("a", 0));
  EXPECT_TRUE(calls_.IsTaken(Request("a", 0)));
}

TEST_F(LiveCallsTest, FindsByOwner) {
  const auto live = Enter(Request("a", 1, "me"));
  EXPECT_EQ(calls_.OwnedBy("me", "a"), LiveCalls::Requests{live});
  EXPECT_EQ(calls_.OwnedBy(std::nullopt, "a"), LiveCalls::Requests{live});
  EXPECT_TRUE(calls_.OwnedBy("you", "a").empty());
  EXPECT_TRUE(calls_.OwnedBy("me", "b").empty());
}

TEST_F(LiveCallsTest, CountsTheSequencesOfATenant) {
  EngineRequest many = Request("a", 1);
  many.n = 3;
  const auto first = Enter(many);
  const auto second = Enter(Request("b", 2));
  EXPECT_EQ(calls_.SequencesOf("t"), 4);
  EXPECT_EQ(calls_.SequencesOf("other"), 0);
  EXPECT_EQ(calls_.All().size(), 2u);
  calls_.Leave(first);
  EXPECT_EQ(calls_.SequencesOf("t"), 1);
  calls_.Leave(second);
  EXPECT_EQ(calls_.SequencesOf("t"), 0);
}

}  // namespace
}  // namespace skipstone
