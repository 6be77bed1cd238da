// Aborts on a broken invariant that no input can reach. Anything that a client, a file or a
// configuration can cause is an absl::Status instead.
#pragma once

#include <cstdio>
#include <cstdlib>

#define SKIPSTONE_CHECK(condition)                                                       \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
