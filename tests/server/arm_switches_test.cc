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

TEST(ArmSwitchesTest, StepsGoForwardOnly) {
  ArmSwitches switches;
  EXPECT_EQ(switches.StepOf("e", 3), 0);
  EXPECT_FALSE(switches.GoTo("e", 0));
  EXPECT_TRUE(switches.GoTo("e", 2));
  EXPECT_FALSE(switches.GoTo("e", 1));
  EXPECT_EQ(switches.StepOf("e", 3), 2);
  EXPECT_EQ(switches.StepOf("e", 1), 1);
  EXPECT_EQ(switches.StepOf("f", 3), 0);
}

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
