#include "server/log_limiter.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace skipstone::server {
namespace {

class LogLimiterTest : public testing::Test {
 protected:
  int Admitted(const std::string& event, int times) {
    int admitted = 0;
    for (int i = 0; i < times; ++i) admitted += limiter_.Admit(event);
    return admitted;
  }
  FakeClock clock_;
  LogLimiter limiter_{clock_};
};

TEST_F(LogLimiterTest, AdmitsTenASecondOfEachEvent) {
  EXPECT_EQ(Admitted("refused", 1000), 10);
  EXPECT_EQ(Admitted("other", 7), 7);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Admitted("refused", 1000), 10);
}

TEST_F(LogLimiterTest, TellsOnceHowManyWereNotAdmitted) {
  using Suppressed = std::vector<std::pair<std::string, int64_t>>;
  Admitted("refused", 1000);
  EXPECT_EQ(limiter_.TakeSuppressed(/*all=*/false), Suppressed()) << "the second is not over";
  clock_.Advance(std::chrono::seconds(1));
  Admitted("other", 10);
  EXPECT_EQ(limiter_.TakeSuppressed(/*all=*/false), (Suppressed{{"refused", 990}}));
  EXPECT_EQ(limiter_.TakeSuppressed(/*all=*/false), Suppressed());
  Admitted("refused", 12);
  EXPECT_EQ(limiter_.TakeSuppressed(/*all=*/true), (Suppressed{{"refused", 2}}));
}

}  // namespace
}  // namespace skipstone::server
