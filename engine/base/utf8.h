// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <string>
#include <string_view>

namespace skipstone {

bool IsValidUtf8(std::string_view bytes);

// Bytes at the end of `bytes` that begin a character which more bytes could complete: 0 to 3.
size_t IncompleteUtf8Tail(std::string_view bytes);

// Every maximal invalid part as one U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view bytes);

}  // namespace skipstone
