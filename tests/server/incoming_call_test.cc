// Calls that wait for a validation thread: their ends, and that nobody else waits with them.
#include "server/incoming_call.h"

#include <memory>
#include <string>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/fake_engine.h"
#include "tests/support/gate.h"

namespace skipstone::server {
namespace {

using grpc::StatusCode;

// The synthetic one, at a gate.
class HeldTokenizer : public Tokenizer {
 public:
  explicit HeldTokenizer(Gate& gate) : gate_(gate) {}
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const TokenLimit& limit) const override {
    gate_.Pass();
    return tokenizer_->Encode(text, limit);
  }
  std::string TokenBytes(int32_t id) const override { return tokenizer_->TokenBytes(id); }
  std::string Piece(int32_t id) const override { return tokenizer_->Piece(id); }
  int vocab_size() const override { return tokenizer_->vocab_size(); }
  std::optional<int32_t> bos_id() const override { return tokenizer_->bos_id(); }

 private:
  Gate& gate_;
  const std::unique_ptr<Tokenizer> tokenizer_ = MakeSyntheticTokenizer(100);
};

class IncomingCallTest : public testing::Test {
 protected:
  IncomingCallTest() { reading_.Close(); }
  ~IncomingCallTest() override { reading_.Open(); }

  Gate reading_;
  FakeServer server_{
      {.yaml = "validation_threads: 1", .tokenizer = std::make_shared<HeldTokenizer>(reading_)}};
};

TEST_F(IncomingCallTest, ThoseThatCostNothingDoNotWait) {
  Streaming held(server_.stub(), Prompt("5 6", 2));
  reading_.WaitArrivals(1);
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse health;
  EXPECT_TRUE(
      grpc::health::v1::Health::NewStub(server_.channel())->Check(&context, {}, &health).ok());
  EXPECT_EQ(health.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(server_.Load().running(), 0u);
  reading_.Open();
  EXPECT_TRUE(held.ReadAll().ok());
}

TEST_F(IncomingCallTest, EndAtTheirDeadlineAndAreNeverRead) {
  Streaming held(server_.stub(), Prompt("5 6", 2));
  reading_.WaitArrivals(1);
  const auto late = server_.Generate(Prompt("7 8", 2), [](grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  });
  EXPECT_EQ(late.status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return server_.Outcomes("deadline") == 1; }));
  reading_.Open();
  EXPECT_TRUE(held.ReadAll().ok());
  EXPECT_EQ(reading_.arrivals(), 1);
}

TEST_F(IncomingCallTest, EndWithTheirClientAndAreNeverRead) {
  Streaming held(server_.stub(), Prompt("5 6", 2));
  reading_.WaitArrivals(1);
  for (int i = 1; i <= 3; ++i) {
    Streaming gone(server_.stub(), Prompt("7 8", 2));
    gone.Cancel();
    EXPECT_EQ(gone.ReadAll().error_code(), StatusCode::CANCELLED);
    EXPECT_TRUE(Eventually([&] { return server_.Outcomes("cancelled") == i; }));
  }
  reading_.Open();
  EXPECT_TRUE(held.ReadAll().ok());
  EXPECT_TRUE(server_.Generate(Prompt("9", 1)).status.ok());
  EXPECT_EQ(reading_.arrivals(), 2) << "neither of those that went";
  EXPECT_EQ(server_.Outcomes("rejected"), 0);
}

TEST_F(IncomingCallTest, AClientThatGoesWhileItsRequestIsReadKeepsItFromTheEngine) {
  Streaming gone(server_.stub(), Prompt("5 6", 2));
  reading_.WaitArrivals(1);
  gone.Cancel();
  EXPECT_EQ(gone.ReadAll().error_code(), StatusCode::CANCELLED);
  // These follow the reset of the stream on the same connection, so the server knows of it.
  for (int i = 0; i < 50; ++i) server_.Load();
  reading_.Open();
  EXPECT_TRUE(Eventually([&] { return server_.Outcomes("cancelled") == 1; }));
  EXPECT_EQ(server_.gate().arrivals(), 0);
}

TEST_F(IncomingCallTest, ADrainEndsThoseThatWait) {
  Streaming held(server_.stub(), Prompt("5 6", 2));
  reading_.WaitArrivals(1);
  Streaming waiting(server_.stub(), Prompt("7 8", 2));
  // These follow it on the same connection, so the server has it.
  for (int i = 0; i < 50; ++i) server_.Load();
  std::thread drain([&] { EXPECT_TRUE(server_.server().Drain(/*now=*/false)); });
  ASSERT_TRUE(
      Eventually([&] { return server_.server().health().IsServing(kReadinessService) == false; }));
  reading_.Open();
  for (Streaming* stream : {&held, &waiting}) {
    const StatusCode code = stream->ReadAll().error_code();
    EXPECT_TRUE(code == StatusCode::UNAVAILABLE || code == StatusCode::OK) << code;
  }
  drain.join();
}

TEST(CallGuardTest, SubmitsNothingForAClientThatIsGone) {
  FakeEngine fake(FakeEngine::Options());
  Engine& engine = *fake.operator->();
  CallGuard guard(kNever);
  EXPECT_TRUE(guard.Check().ok());
  guard.OnCancel();
  EXPECT_TRUE(absl::IsCancelled(guard.Check()));
  EXPECT_TRUE(absl::IsCancelled(guard.Submit(engine, {.id = "x"}, nullptr)));
  CallGuard late(SystemClock().Now());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.Check()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(late.Submit(engine, {.id = "x"}, nullptr)));
}

TEST(CallGuardTest, EndsEveryItemOfItsCallAndNoOtherCallOfThatId) {
  Gate gate;
  gate.Close();
  FakeEngine fake(FakeEngine::Options(), {.on_launch = [&gate](const StepPlan&) { gate.Pass(); }});
  Engine& engine = *fake.operator->();
  const auto submit = [&](CallGuard& guard, uint64_t call, std::shared_ptr<Recording> recording) {
    EngineRequest request = fake.Request("x", 4, 8);
    request.call = call;
    return guard.Submit(engine, request, Recording::Sink(std::move(recording)));
  };
  CallGuard first(kNever);
  CallGuard second(kNever);
  const auto kept = std::make_shared<Recording>();
  ASSERT_TRUE(submit(first, 1, kept).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(submit(second, 2, std::make_shared<Recording>())));
  second.OnStall();  // a call that the engine did not take
  second.Withdraw();
  gate.Open();
  EXPECT_TRUE(kept->WaitDone().ok());

  gate.Close();
  const auto item = std::make_shared<Recording>();
  const auto other_item = std::make_shared<Recording>();
  ASSERT_TRUE(submit(first, 1, item).ok());
  ASSERT_TRUE(submit(first, 1, other_item).ok());
  first.Withdraw();
  gate.Open();
  for (const auto& ended : {item, other_item}) EXPECT_TRUE(absl::IsCancelled(ended->WaitDone()));
  // The id is another's now, and who had it may still be told that its client went.
  const auto later = std::make_shared<Recording>();
  ASSERT_TRUE(submit(second, 2, later).ok());
  first.OnCancel();
  EXPECT_TRUE(later->WaitDone().ok());
}

}  // namespace
}  // namespace skipstone::server
