#include "base/leavable_thread.h"

#include <pthread.h>

#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/gate.h"

namespace skipstone {
namespace {

TEST(LeavableThreadTest, EndsAndHasAName) {
  std::string name(16, '\0');
  LeavableThread thread("step", [&] { pthread_getname_np(pthread_self(), name.data(), 16); });
  EXPECT_TRUE(thread.WaitUntil(SystemClock().Now() + std::chrono::minutes(1)));
  thread.Leave();
  EXPECT_EQ(std::string(name.c_str()), "step");
}

TEST(LeavableThreadTest, OneThatIsHeldIsLeftWithWhatItOwns) {
  auto gate = std::make_shared<Gate>();
  gate->Close();
  LeavableThread thread("held", [gate] { gate->Pass(); });
  gate->WaitArrivals(1);
  EXPECT_FALSE(thread.WaitUntil(SystemClock().Now() + std::chrono::milliseconds(10)));
  thread.Leave();
  gate->Open();
  while (gate.use_count() > 1) std::this_thread::yield();
}

}  // namespace
}  // namespace skipstone
