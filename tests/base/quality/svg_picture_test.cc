#include "base/quality/svg_picture.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(SvgPictureTest, DrawsShapesWithTheirStyles) {
  SvgPicture svg(400, 300, "a picture");
  svg.Line("grid", 1, 2, 3, 4);
  svg.Text("tick", 5, 6, "words");
  svg.Rect("rest", 1, 2, 30, 40);
  svg.Circle("best", 7, 8, 5, "a point");
  svg.Path("line", "M1 2L3 4");
  svg.SideTitle(150, "up");
  EXPECT_EQ(svg.Finish(),
            "<svg viewBox=\"0 0 400 300\" role=\"img\" aria-label=\"a picture\">\n"
            "<line class=\"grid\" x1=\"1.0\" y1=\"2.0\" x2=\"3.0\" y2=\"4.0\"/>\n"
            "<text class=\"tick\" x=\"5.0\" y=\"6.0\">words</text>\n"
            "<rect class=\"rest\" x=\"1.0\" y=\"2.0\" width=\"30.0\" height=\"40.0\"/>\n"
            "<circle class=\"best\" cx=\"7.0\" cy=\"8.0\" r=\"5\"><title>a point</title></circle>\n"
            "<path class=\"line\" d=\"M1 2L3 4\"/>\n"
            "<text class=\"title middle\" transform=\"translate(16 150.0) rotate(-90)\">up</text>\n"
            "</svg>\n");
}

TEST(SvgPictureTest, TextsAreText) {
  const std::string evil = "\"<b>&";
  SvgPicture svg(1, 1, evil);
  svg.Text("x", 0, 0, evil);
  svg.Circle("x", 0, 0, 1, evil);
  svg.SideTitle(0, evil);
  EXPECT_THAT(svg.Finish(), AllOf(Not(HasSubstr("<b>")), HasSubstr("&quot;&lt;b&gt;&amp;")));
}

}  // namespace
}  // namespace skipstone::quality
