#include "base/check.h"

#include <cstdio>
#include <string>

#include "base/log.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(CheckDeathTest, GoesTheWayOfEveryMessage) {
  SKIPSTONE_CHECK(1 + 1 == 2);
  EXPECT_DEATH(
      {
        SetLogSink([](LogSeverity severity, const std::string& message) {
          std::fprintf(stderr, "%d|%s", static_cast<int>(severity), message.c_str());
        });
        SKIPSTONE_CHECK(1 + 1 == 3);
      },
      "2\\|.*check_test\\.cc:[0-9]+: check failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace skipstone
