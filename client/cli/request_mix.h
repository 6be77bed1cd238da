// Which skip each request of a benchmark asks for: weighted parts, drawn at random.
//
//   "full@50;attn:last=33%@50"    half of the requests each
//   "none;block:last=2"           the same, with weight 1 each
#pragma once

#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::client {

struct MixPart {
  std::string name;  // as it was written
  double weight = 1;
  v1::Skip skip;  // no choice: the server's default
};

// Parts are separated by ';', a weight (> 0) follows '@'. An empty text is one part "default" that
// leaves the choice to the server. Errors name the part.
absl::StatusOr<std::vector<MixPart>> ParseMix(const std::string& text);

// Index of a part, drawn by weight.
size_t DrawPart(const std::vector<MixPart>& mix, std::mt19937_64& random);

}  // namespace skipstone::client
