#include "base/quality/html_text.h"

#include "base/utf8.h"

namespace skipstone::quality {

std::string HtmlText(std::string_view text) {
  std::string html;
  for (const char c : ReplaceInvalidUtf8(text)) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default: {
        const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
        html += is_control && c != '\n' && c != '\t' ? std::string("\uFFFD") : std::string(1, c);
      }
    }
  }
  return html;
}

}  // namespace skipstone::quality
