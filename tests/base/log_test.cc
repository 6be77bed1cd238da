#include "base/log.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { SetLogSink(nullptr); }
};

TEST_F(LogTest, GoesToTheInstalledSink) {
  std::vector<std::pair<LogSeverity, std::string>> lines;
  SetLogSink([&](LogSeverity severity, const std::string& message) {
    lines.emplace_back(severity, message);
  });
  Log(LogSeverity::kWarning, "pool is small");
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0], std::pair(LogSeverity::kWarning, std::string("pool is small")));
}

TEST_F(LogTest, GoesToStandardErrorWithoutASink) {
  testing::internal::CaptureStderr();
  Log(LogSeverity::kError, "device lost");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "error: device lost\n");
}

}  // namespace
}  // namespace skipstone
