#include "engine/queue_meter.h"

#include "gtest/gtest.h"

namespace skipstone {
namespace {

Time At(double seconds) {
  return Time(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)));
}

TEST(QueueMeterTest, CountsWhatWaits) {
  QueueMeter queue;
  queue.Enter({.sequences = 3, .prompt_tokens = 300});
  queue.GiveUp({.sequences = 1, .prompt_tokens = 120});
  EXPECT_EQ(queue.waiting().sequences, 2);
  EXPECT_EQ(queue.waiting().prompt_tokens, 180);
}

TEST(QueueMeterTest, ASecondIfNothingIsKnown) {
  QueueMeter queue;
  EXPECT_EQ(queue.TimeToDrain({.sequences = 1, .prompt_tokens = 1}, At(100)),
            std::chrono::seconds(1));
}

TEST(QueueMeterTest, CountsWhatWaitsOfATenant) {
  QueueMeter queue;
  queue.Enter({.sequences = 3}, "a");
  queue.Enter({.sequences = 1}, "b");
  queue.Start({.sequences = 1}, At(1), "a");
  queue.GiveUp({.sequences = 1}, "b");
  EXPECT_EQ(queue.waiting_of("a"), 2);
  EXPECT_EQ(queue.waiting_of("b"), 0);
  EXPECT_EQ(queue.waiting_of("c"), 0);
  EXPECT_EQ(queue.waiting().sequences, 2);
}

TEST(QueueMeterTest, WithoutARateTheQueueIsTakenToDrainInASecond) {
  QueueMeter queue;
  queue.Enter({.sequences = 8, .prompt_tokens = 80});
  EXPECT_EQ(queue.TimeToDrain({.sequences = 8}, At(100)), std::chrono::seconds(1));
  EXPECT_EQ(queue.TimeToDrain({.sequences = 20}, At(100)), std::chrono::milliseconds(2500));
}

TEST(QueueMeterTest, TakesTheRateOfTheLastSeconds) {
  QueueMeter queue;
  queue.Enter({.sequences = 1000, .prompt_tokens = 100000});
  // 10 sequences of 100 tokens a second, for 10 seconds.
  for (int i = 0; i < 100; ++i)
    queue.Start({.sequences = 1, .prompt_tokens = 100}, At(50 + i / 10.));
  EXPECT_NEAR(Seconds(queue.TimeToDrain({.sequences = 5}, At(60))), 0.5, 0.1);
  EXPECT_NEAR(Seconds(queue.TimeToDrain({.prompt_tokens = 3000}, At(60))), 3, 0.5);
  EXPECT_NEAR(Seconds(queue.TimeToDrain({.sequences = 5, .prompt_tokens = 3000}, At(60))), 3, 0.5)
      << "whichever takes longer";
  EXPECT_EQ(queue.TimeToDrain({.sequences = 5}, At(80)), std::chrono::seconds(1))
      << "that was long ago";
}

TEST(QueueMeterTest, WhoGivesUpDrainsNothing) {
  QueueMeter queue;
  queue.Enter({.sequences = 100, .prompt_tokens = 100});
  queue.Start({.sequences = 1, .prompt_tokens = 1}, At(50.1));
  for (int i = 0; i < 90; ++i) queue.GiveUp({.sequences = 1, .prompt_tokens = 1});
  EXPECT_EQ(queue.waiting().sequences, 9);
  EXPECT_NEAR(Seconds(queue.TimeToDrain({.sequences = 5}, At(52))), 10, 0.1) << "one in 2 s";
}

TEST(QueueMeterTest, ABurstOfAMomentIsNoRate) {
  QueueMeter queue;
  queue.Enter({.sequences = 10, .prompt_tokens = 10});
  for (int i = 0; i < 10; ++i) queue.Start({.sequences = 1, .prompt_tokens = 1}, At(50.999));
  EXPECT_NEAR(Seconds(queue.TimeToDrain({.sequences = 10}, At(51.001))), 1, 0.01);
}

}  // namespace
}  // namespace skipstone
