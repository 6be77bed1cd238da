#include "base/quality/html_page.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(HtmlPageTest, StandsAlone) {
  const std::string page = HtmlPage("a <b>", "<p>body</p>");
  EXPECT_THAT(page,
              AllOf(HasSubstr("<title>a &lt;b&gt;</title>"), HasSubstr("<p>body</p>"),
                    HasSubstr("prefers-color-scheme: dark"), Not(HasSubstr("<script")),
                    Not(HasSubstr("http")), Not(HasSubstr("@import")), Not(HasSubstr("url("))));
}

}  // namespace
}  // namespace skipstone::quality
