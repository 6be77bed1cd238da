// What the wire fuzz tests begin with: good messages of each method, and good HTTP/2 sessions.
#pragma once

#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace skipstone {

struct MethodSeeds {
  std::string path;  // "/skipstone.v1.Inference/Score"
  FuzzSeeds seeds;   // serialised requests
};

// The unary methods. What they ask for is little, so that a run is about refusals.
std::vector<MethodSeeds> UnaryMethodSeeds();

// Bytes that a client sends on a connection of its own: preface, settings, calls.
FuzzSeeds SessionSeeds();

}  // namespace skipstone
