// Random changes of a fuzz target's seeds. What comes out is a function of the number alone.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "tests/fuzz/fuzz_target.h"

namespace skipstone {

class Mutator {
 public:
  // `seeds` outlives this.
  Mutator(const FuzzSeeds& seeds, uint32_t number) : seeds_(seeds), random_(number) {}

  // A seed after up to five changes.
  std::string Input();

 private:
  size_t Below(size_t n) { return random_() % n; }
  template <typename List>
  std::string Pick(const List& list) {
    return list[Below(std::size(list))];
  }
  void Mutate(std::string* input);
  // The run of digits after `at`.
  void ReplaceNumber(std::string* input, size_t at);
  std::string RandomBytes();

  const FuzzSeeds& seeds_;
  std::mt19937 random_;
};

}  // namespace skipstone
