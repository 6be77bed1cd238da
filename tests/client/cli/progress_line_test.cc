#include "client/cli/progress_line.h"

#include <sstream>

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

constexpr Progress kProgress{.sent = 12, .open = 3, .ok = 8, .failed = 1, .output_tokens = 500};

TEST(ProgressLineTest, TerminalsSeeOneLineRewritten) {
  std::ostringstream out;
  ProgressLine line(out, /*terminal=*/true);
  line.Show(kProgress, 2.5);
  EXPECT_EQ(out.str(), "\r2 s: 12 sent, 3 open, 8 done, 1 failed, 200 tokens/s\x1b[K");
  line.Finish();
  EXPECT_TRUE(out.str().ends_with("\r\x1b[K"));
  EXPECT_EQ(out.str().find('\n'), std::string::npos);
}

TEST(ProgressLineTest, FilesSeeALineEachTime) {
  std::ostringstream out;
  ProgressLine line(out, /*terminal=*/false);
  line.Show(kProgress, 10);
  line.Show({}, 0);
  line.Finish();
  EXPECT_EQ(out.str(),
            "10 s: 12 sent, 3 open, 8 done, 1 failed, 50 tokens/s\n"
            "0 s: 0 sent, 0 open, 0 done, 0 failed, 0 tokens/s\n");
}

TEST(ProgressLineTest, AnyTextIsShownTheSameWay) {
  std::ostringstream terminal;
  ProgressLine(terminal, true).Show("5 s: 3 of 4 windows");
  EXPECT_EQ(terminal.str(), "\r5 s: 3 of 4 windows\x1b[K");
  std::ostringstream file;
  ProgressLine(file, false).Show("5 s: 3 of 4 windows");
  EXPECT_EQ(file.str(), "5 s: 3 of 4 windows\n");
}

TEST(ProgressLineTest, TerminalsAreRewrittenMoreOften) {
  std::ostringstream out;
  EXPECT_LT(ProgressLine(out, true).interval(), ProgressLine(out, false).interval());
}

}  // namespace
}  // namespace skipstone::client
