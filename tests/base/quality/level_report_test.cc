#include "base/quality/level_report.h"

#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace skipstone::quality {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

LevelReport Example() {
  LevelReport report{.title = "Sweep", .model = "tiny (5eed)", .notes = {"Two windows."}};
  LevelRow full{.name = "full", .skip = "none"};
  full.perplexity = Interval{30, 28, 32};
  full.nll_change = Interval{};
  full.decode_ms = 10;
  full.pages = 1;
  LevelRow level{.name = "attn-25", .skip = "attn:22-29", .compensation = "diag"};
  level.perplexity = Interval{70, 65.5, 75};
  level.nll_change = Interval{0.85, 0.8, 0.9};
  level.retention = Interval{0.5, 0.4, 0.625};
  level.decode_ms = 8.25;
  level.pages = 0.75;
  report.rows = {full, level};
  return report;
}

TEST(LevelReportTest, TableIsAlignedWithIntervalsInBrackets) {
  EXPECT_EQ(ToTable(Example()),
            "Sweep\n"
            "model tiny (5eed)\n"
            "\n"
            "Levels\n"
            "level    skip        compensation\n"
            "full     none        -\n"
            "attn-25  attn:22-29  diag\n"
            "\n"
            "Text\n"
            "level              perplexity                   nats lost\n"
            "full     30.00 [28.00, 32.00]  +0.0000 [+0.0000, +0.0000]\n"
            "attn-25  70.00 [65.50, 75.00]  +0.8500 [+0.8000, +0.9000]\n"
            "\n"
            "Generation\n"
            "level          retention %\n"
            "full                     -\n"
            "attn-25  50.0 [40.0, 62.5]\n"
            "\n"
            "Cost\n"
            "level    decode ms/token  pages %\n"
            "full               10.00    100.0\n"
            "attn-25             8.25     75.0\n"
            "\n"
            "Two windows.\n");
}

TEST(LevelReportTest, NamesThatAreTheirSkipsNeedNoTable) {
  LevelReport report = Example();
  report.rows = {{.name = "none", .skip = "none"}};
  EXPECT_THAT(ToTable(report), Not(HasSubstr("Levels")));
}

TEST(LevelReportTest, JsonHasEachMeasure) {
  const json report = json::parse(ToJson(Example()));
  EXPECT_EQ(report["title"], "Sweep");
  EXPECT_EQ(report["notes"][0], "Two windows.");
  const json& level = report["rows"][1];
  EXPECT_EQ(level["name"], "attn-25");
  EXPECT_EQ(level["compensation"], "diag");
  EXPECT_EQ(level["perplexity"], json({{"value", 70.0}, {"low", 65.5}, {"high", 75.0}}));
  EXPECT_EQ(level["decode_ms"], 8.25);
  EXPECT_TRUE(level["kl"].is_null());
  EXPECT_TRUE(level["brier"].is_null());
}

TEST(LevelReportTest, JsonOfAnythingCanBeRead) {
  LevelReport report = Example();
  report.rows[0].name = "\xff\"\n";
  report.rows[0].decode_ms = std::numeric_limits<double>::quiet_NaN();
  const json parsed = json::parse(ToJson(report));
  EXPECT_EQ(parsed["rows"][0]["name"], "\uFFFD\"\n");
  EXPECT_TRUE(parsed["rows"][0]["decode_ms"].is_null());
}

TEST(LevelReportTest, PageHasTableAndPictures) {
  const std::string page = ToHtml(Example());
  EXPECT_THAT(page, AllOf(HasSubstr("<h1>Sweep</h1>"), HasSubstr("<small>attn:22-29</small>"),
                          HasSubstr("70.00<small>[65.50, 75.00]</small>"),
                          HasSubstr(">decode ms/token</text>"), HasSubstr(">pages %</text>"),
                          Not(HasSubstr(">prefill ms/1k tokens</text>")),
                          HasSubstr(">nats lost</text>"), HasSubstr("<li>Two windows.</li>")));
}

TEST(LevelReportTest, KlIsDrawnWhereItWasMeasured) {
  LevelReport report = Example();
  for (LevelRow& row : report.rows) row.kl = row.nll_change;
  EXPECT_THAT(ToHtml(report), AllOf(HasSubstr(">KL</text>"), Not(HasSubstr(">nats lost</text>"))));
  for (LevelRow& row : report.rows) row.kl = row.nll_change = std::nullopt;
  EXPECT_THAT(ToHtml(report), HasSubstr(">perplexity</text>"));
}

TEST(LevelReportTest, WithoutCostsThereIsNoPicture) {
  LevelReport report = Example();
  for (LevelRow& row : report.rows) row.decode_ms = row.pages = std::nullopt;
  EXPECT_THAT(ToHtml(report), Not(HasSubstr("<svg")));
}

TEST(LevelReportTest, TextsAreTextOnEveryPage) {
  LevelReport report = Example();
  const std::string evil = "<img src=x onerror='alert(1)'>";
  report.title = report.model = report.notes[0] = evil;
  report.rows[1].name = report.rows[1].skip = report.rows[1].compensation = evil;
  EXPECT_THAT(ToHtml(report), AllOf(Not(HasSubstr("<img")), HasSubstr("&lt;img src=x")));
  report.title = "a\nb\x1b[2J";
  EXPECT_THAT(ToTable(report), HasSubstr("a\\nb\\x1b[2J\n"));
}

// Where a browser is installed it draws the page, all in one picture, without an error.
TEST(LevelReportTest, ABrowserDrawsThePage) {
  if (std::system("command -v chromium > /dev/null") != 0) {
    GTEST_SKIP() << "no chromium to draw the page with";
  }
  const TempDir dir;
  const std::string page = dir.Write("report.html", ToHtml(Example()));
  const std::string command =
      "timeout 120 chromium --headless --no-sandbox --disable-gpu "
      "--user-data-dir=" +
      dir.path() + "/profile --dump-dom file://" + page + " > " + dir.path() + "/dom 2> " +
      dir.path() + "/log";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream stream(dir.path() + "/dom");
  const std::string dom((std::istreambuf_iterator<char>(stream)), {});
  // What the parser has made of it: two pictures of two points each, a table of two rows.
  const auto count = [&](const std::string& text) {
    int found = 0;
    for (size_t at = 0; (at = dom.find(text, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(count("<svg"), 2);
  EXPECT_EQ(count("</circle>"), 4);
  EXPECT_EQ(count("<th scope=\"row\">"), 2);
}

}  // namespace
}  // namespace skipstone::quality
