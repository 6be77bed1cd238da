// Counts what a program allocates: it replaces the global operators, so exactly one source of the
// program includes it. One thread.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

static int64_t allocations = 0;  // since the start

// Not inline: the compiler would take malloc() and free() for halves of different pairs.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
