#include "base/quality/svg_picture.h"

#include "absl/strings/str_format.h"
#include "base/quality/html_text.h"

namespace skipstone::quality {

SvgPicture::SvgPicture(double width, double height, const std::string& label)
    : svg_(absl::StrFormat("<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">\n", width,
                           height, HtmlText(label))) {}

void SvgPicture::Line(std::string_view style, double x1, double y1, double x2, double y2) {
  absl::StrAppendFormat(&svg_,
                        "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                        std::string(style), x1, y1, x2, y2);
}

void SvgPicture::Text(std::string_view style, double x, double y, const std::string& text) {
  absl::StrAppendFormat(&svg_, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                        std::string(style), x, y, HtmlText(text));
}

void SvgPicture::Rect(std::string_view style, double x, double y, double width, double height) {
  absl::StrAppendFormat(
      &svg_, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
      std::string(style), x, y, width, height);
}

void SvgPicture::Circle(std::string_view style, double x, double y, double radius,
                        const std::string& title) {
  absl::StrAppendFormat(
      &svg_, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"><title>%s</title></circle>\n",
      std::string(style), x, y, radius, HtmlText(title));
}

void SvgPicture::Path(std::string_view style, const std::string& path) {
  absl::StrAppendFormat(&svg_, "<path class=\"%s\" d=\"%s\"/>\n", std::string(style), path);
}

void SvgPicture::SideTitle(double y, const std::string& text) {
  absl::StrAppendFormat(&svg_,
                        "<text class=\"title middle\" transform=\"translate(16 %.1f) "
                        "rotate(-90)\">%s</text>\n",
                        y, HtmlText(text));
}

}  // namespace skipstone::quality
