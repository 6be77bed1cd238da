// Aborts on a broken invariant that no input can reach. Anything that a client, a file or a
// configuration can cause is an absl::Status instead.
#pragma once

namespace skipstone {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace skipstone

#define SKIPSTONE_CHECK(condition)                              \
  do {                                                          \
    if (!(condition)) [[unlikely]] {                            \
      ::skipstone::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                           \
  } while (false)
