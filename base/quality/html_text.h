// Text within HTML and SVG.
#pragma once

#include <string>
#include <string_view>

namespace skipstone::quality {

// As content or as the value of a quoted attribute: & < > " ' become references, what is no
// character of HTML U+FFFD.
std::string HtmlText(std::string_view text);

}  // namespace skipstone::quality
