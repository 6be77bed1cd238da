// Hashes that are equal in every process and on every machine, unlike absl::Hash and std::hash.
#pragma once

#include <cstdint>
#include <string_view>

namespace skipstone {

// FNV-1a, 64 bits (Fowler, Noll, Vo): offset basis 14695981039346656037, prime 1099511628211.
// `state` continues an earlier hash.
constexpr uint64_t Fnv1a64(std::string_view bytes, uint64_t state = 14695981039346656037ull) {
  for (const char c : bytes) {
    state ^= static_cast<uint8_t>(c);
    state *= 1099511628211ull;
  }
  return state;
}

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose outputs for
// consecutive inputs pass statistical tests. The counter-based random numbers rest on it.
constexpr uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace skipstone
