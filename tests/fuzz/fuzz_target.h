// What a fuzz target consists of. The same two functions serve libFuzzer and mutation_driver.cc,
// which runs as an ordinary test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Aborts if what was accepted breaks an invariant. Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace skipstone {

struct FuzzSeeds {
  std::vector<std::string> inputs;      // good ones and nearly good ones, to be mutated
  std::vector<std::string> dictionary;  // pieces of text that the parser knows
};

FuzzSeeds Seeds();

}  // namespace skipstone
