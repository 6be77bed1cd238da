// The frame of a report's HTML page: one file, no script, nothing from elsewhere, light or dark as
// the reader's system is.
#pragma once

#include <string>

namespace skipstone::quality {

// `title` is text, `body` HTML. The style knows tables (`.wide` around one that may be wider than
// the window, `.kind` where a group of columns begins, <small> for what stands below a number) and
// pictures (`.plots` around figures).
std::string HtmlPage(const std::string& title, const std::string& body);

}  // namespace skipstone::quality
