#include "server/arm_switches.h"

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ArmSwitchesTest, AnArmIsOffUntilItIsOnAgain) {
  ArmSwitches switches;
  EXPECT_FALSE(switches.IsOff("e", "t"));
  EXPECT_TRUE(switches.TurnOff({"e", "t", "errors", 5}));
  EXPECT_TRUE(switches.IsOff("e", "t"));
  EXPECT_FALSE(switches.IsOff("e", "c"));
  EXPECT_FALSE(switches.IsOff("f", "t"));
  EXPECT_FALSE(switches.TurnOff({"e", "t", "KL", 6})) << "it is off";
  EXPECT_THAT(switches.off(), ElementsAre(ArmSwitches::Off{"e", "t", "errors", 5}));
  EXPECT_TRUE(switches.TurnOn("e", "t"));
  EXPECT_FALSE(switches.TurnOn("e", "t"));
  EXPECT_FALSE(switches.IsOff("e", "t"));
  EXPECT_THAT(switches.off(), IsEmpty());
}

TEST(ArmSwitchesTest, WhatWasSavedIsRestored) {
  ArmSwitches before;
  before.TurnOff({"f", "t", "its error rate, 5 %, is \"above\" 1 %\n", 1795000000123});
  before.TurnOff({"e", "t", "", 0});
  ArmSwitches after;
  after.TurnOff({"g", "t", "of before", 1});
  const absl::Status status = after.Restore(before.Save());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(after.off(), before.off());
  EXPECT_EQ(after.Save(), before.Save());
  EXPECT_TRUE(after.IsOff("f", "t"));
  EXPECT_FALSE(after.IsOff("g", "t"));
  EXPECT_TRUE(after.Restore(ArmSwitches().Save()).ok());
  EXPECT_FALSE(after.IsOff("f", "t"));
}

TEST(ArmSwitchesTest, NothingElseIsRestored) {
  ArmSwitches switches;
  switches.TurnOff({"e", "t", "errors", 5});
  const std::string saved = switches.Save();
  for (const std::string& text :
       {std::string(), saved.substr(0, saved.size() / 2), std::string("[]"),
        std::string(R"({"off": {}})"), std::string(R"({"off": [1]})"),
        std::string(R"({"off": [{"experiment": "e", "arm": "t", "why": ""}]})"),
        std::string(
            R"({"off": [{"experiment": "e", "arm": 1, "why": "", "since_unix_ms": 1}]})")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(switches.Restore(text))) << text;
    EXPECT_EQ(switches.Save(), saved);
  }
}

TEST(ArmSwitchesTest, ThreadsMayAskWhileItChanges) {
  ArmSwitches switches;
  std::vector<std::thread> threads;
  std::atomic<bool> done{false};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!done) switches.IsOff("e", "t");
    });
  }
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(switches.TurnOff({"e", "t", "errors", i}));
    EXPECT_TRUE(switches.IsOff("e", "t"));
    EXPECT_TRUE(switches.TurnOn("e", "t"));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace skipstone::server
