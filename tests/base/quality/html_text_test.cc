#include "base/quality/html_text.h"

#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

TEST(HtmlTextTest, MarkupBecomesText) {
  EXPECT_EQ(HtmlText("<script>alert(\"1\" & '2')</script>"),
            "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;");
  EXPECT_EQ(HtmlText("attn:last=33% \u2026\n\t"), "attn:last=33% \u2026\n\t");
}

TEST(HtmlTextTest, WhatIsNoCharacterIsReplaced) {
  EXPECT_EQ(HtmlText("a\x1b[2J"), "a\uFFFD[2J");
  EXPECT_EQ(HtmlText(std::string_view("a\0b", 3)), "a\uFFFDb");
  EXPECT_EQ(HtmlText("a\xff"), "a\uFFFD");
}

}  // namespace
}  // namespace skipstone::quality
