// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <string>
#include <string_view>

namespace skipstone {

bool IsValidUtf8(std::string_view bytes);

// Unicode code points of valid UTF-8; of other bytes those that continue none.
int CountCharacters(std::string_view utf8);

// Bytes at the end of `bytes` that begin a character which more bytes could complete: 0 to 3.
size_t IncompleteUtf8Tail(std::string_view bytes);

// Every byte that is part of no character as one U+FFFD, as SentencePiece decodes.
std::string ReplaceInvalidUtf8(std::string_view bytes);

// Bytes of the blanks at an end of `text`: of what Python's str.strip() takes away there, that is
// Unicode's White_Space and U+001C to U+001F.
size_t BlanksAtStart(std::string_view text);
size_t BlanksAtEnd(std::string_view text);

}  // namespace skipstone
