#include "base/experiment/report/report_html.h"

#include <cstdlib>

#include "base/experiment/report/report_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"
#include "tests/support/temp_dir.h"

namespace skipstone::experiment {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

ExposureReport Example(Design design) {
  ReportBuilder builder({});
  if (design == Design::kMixed) {
    for (const ExposureRecord& record : PlantedLog(8000)) builder.Add(record);
    return builder.Finish({.records = 8000});
  }
  for (int64_t i = 0; i < 400; ++i) {
    const int64_t window = i / 5;
    builder.Add(WindowRecord(i, window, (window / 4 + window) % 2 == 0 ? "control" : "treatment"));
  }
  return builder.Finish({.records = 400});
}

int Count(const std::string& page, const std::string& text) {
  int found = 0;
  for (size_t at = 0; (at = page.find(text, at)) != std::string::npos; ++at) ++found;
  return found;
}

TEST(ReportHtmlTest, AMixedPageHasVerdictPicturesAndWhoSuffers) {
  const std::string page = ToHtml(Example(Design::kMixed));
  EXPECT_THAT(page, AllOf(HasSubstr("<p class=\"verdict\">treatment costs "),
                          HasSubstr("Cost: treatment against control"),
                          HasSubstr("Divergence: treatment against control"),
                          HasSubstr("What each look said: attributed time per token"),
                          HasSubstr("class=\"band\""), HasSubstr("Units by arm"),
                          HasSubstr("Which requests suffer"), Not(HasSubstr("ITL ms"))));
  EXPECT_EQ(Count(page, "<svg"), 6);
  EXPECT_THAT(page, AllOf(Not(HasSubstr("<script")), Not(HasSubstr("http"))));
}

TEST(ReportHtmlTest, ASwitchbackPageHasItsWindows) {
  const std::string page = ToHtml(Example(Design::kSwitchback));
  EXPECT_THAT(page, AllOf(HasSubstr("Cost and latency: treatment against control"),
                          HasSubstr("inter-token latency"), HasSubstr("The last windows"),
                          HasSubstr("Windows by arm"), Not(HasSubstr("What each look said"))));
}

TEST(ReportHtmlTest, AnAlarmLooksLikeOne) {
  ExposureReport report = Example(Design::kMixed);
  EXPECT_THAT(ToHtml(report), Not(HasSubstr("class=\"verdict alarm\"")));
  report.experiments[0].sample_ratio_p = 1e-9;
  EXPECT_THAT(ToHtml(report), HasSubstr("class=\"verdict alarm\""));
}

TEST(ReportHtmlTest, TextsAreText) {
  ExposureReport report = Example(Design::kMixed);
  const std::string evil = "<img src=x onerror='alert(1)'>";
  ExperimentReport& experiment = report.experiments[0];
  experiment.name = experiment.verdicts[0] = experiment.notes[0] = evil;
  for (ArmReport& arm : experiment.arms) arm.name = evil;
  for (WorstRequest& request : experiment.worst) {
    request.request_id = request.level = request.traceparent = evil;
  }
  report.counts.errors = {evil};
  EXPECT_THAT(ToHtml(report), AllOf(Not(HasSubstr("<img")), HasSubstr("&lt;img src=x")));
}

// Where a browser is installed it draws the page without an error.
TEST(ReportHtmlTest, ABrowserDrawsThePage) {
  if (std::system("command -v chromium > /dev/null") != 0) {
    GTEST_SKIP() << "no chromium to draw the page with";
  }
  const TempDir dir;
  const std::string page = dir.Write("report.html", ToHtml(Example(Design::kMixed)));
  const std::string command =
      "timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir=" + dir.path() +
      "/profile --dump-dom file://" + page + " > " + dir.path() + "/dom 2> " + dir.path() + "/log";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream stream(dir.path() + "/dom");
  const std::string dom((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_EQ(Count(dom, "<svg"), 6);
  EXPECT_EQ(Count(dom, "</figure>"), 6);
  EXPECT_GE(Count(dom, "<th scope=\"row\""), 20);
}

}  // namespace
}  // namespace skipstone::experiment
