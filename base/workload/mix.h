// What each request of a workload asks for: weighted parts, drawn at random.
//
//   "full@50;attn:last=33%@50"    half of the requests each
//   "none;block:last=2"           the same, with weight 1 each
#pragma once

#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstone {

struct MixPart {
  std::string name;  // as it was written: a level or a skip spec
  double weight = 1;
};

// Parts are separated by ';', a weight (> 0) follows '@'. INVALID_ARGUMENT names the part.
absl::StatusOr<std::vector<MixPart>> ParseMix(const std::string& text);

// Index of a part, drawn by weight.
int DrawPart(const std::vector<MixPart>& mix, std::mt19937_64& random);

}  // namespace skipstone
