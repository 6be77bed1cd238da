#include "base/mailbox.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(MailboxTest, TakesAllInOrder) {
  Mailbox<int> mailbox;
  mailbox.Push(1);
  std::vector<int> more{2, 3};
  mailbox.PushAll(more);
  EXPECT_THAT(more, IsEmpty());
  std::vector<int> items{99};
  EXPECT_TRUE(mailbox.Take(items, false));
  EXPECT_THAT(items, ElementsAre(1, 2, 3));
  EXPECT_TRUE(mailbox.Take(items, false)) << "an open mailbox may fill again";
  EXPECT_THAT(items, IsEmpty());
}

TEST(MailboxTest, MovesItems) {
  Mailbox<std::unique_ptr<int>> mailbox;
  mailbox.Push(std::make_unique<int>(7));
  std::vector<std::unique_ptr<int>> items;
  ASSERT_TRUE(mailbox.Take(items, true));
  ASSERT_EQ(items.size(), 1);
  EXPECT_EQ(*items[0], 7);
}

TEST(MailboxTest, HandsOutWhatWasThereBeforeTheClose) {
  Mailbox<int> mailbox;
  mailbox.Push(1);
  mailbox.Close();
  std::vector<int> items;
  EXPECT_TRUE(mailbox.Take(items, true));
  EXPECT_THAT(items, ElementsAre(1));
  EXPECT_FALSE(mailbox.Take(items, true));
  EXPECT_FALSE(mailbox.Take(items, false));
  EXPECT_THAT(items, IsEmpty());
}

TEST(MailboxTest, CloseWakesAWaitingReader) {
  Mailbox<int> mailbox;
  bool more = true;
  std::thread reader([&] {
    std::vector<int> items;
    more = mailbox.Take(items, true);
  });
  mailbox.Close();
  reader.join();
  EXPECT_FALSE(more);
}

TEST(MailboxTest, PushWakesAWaitingReader) {
  Mailbox<int> mailbox;
  std::vector<int> items;
  std::thread reader([&] { mailbox.Take(items, true); });
  mailbox.Push(5);
  reader.join();
  EXPECT_THAT(items, ElementsAre(5));
}

// Every item arrives once, each writer's in the order in which it wrote.
TEST(MailboxTest, KeepsEachOfManyWritersInOrder) {
  constexpr int kWriters = 4;
  constexpr int kItems = 5000;
  Mailbox<std::pair<int, int>> mailbox;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&mailbox, writer] {
      std::vector<std::pair<int, int>> batch;
      for (int i = 0; i < kItems; ++i) {
        batch.emplace_back(writer, i);
        if (i % 3 != 0) mailbox.PushAll(batch);
      }
      for (const auto& item : batch) mailbox.Push(item);
    });
  }
  std::thread closer([&] {
    for (std::thread& writer : writers) writer.join();
    mailbox.Close();
  });
  std::vector<int> next(kWriters, 0);
  bool in_order = true;
  std::vector<std::pair<int, int>> items;
  while (mailbox.Take(items, true)) {
    for (const auto& [writer, i] : items) in_order &= next[writer]++ == i;
  }
  closer.join();
  EXPECT_TRUE(in_order);
  EXPECT_THAT(next, testing::Each(kItems));
}

}  // namespace
}  // namespace skipstone
