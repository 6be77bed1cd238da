// Numbers of tokens: fixed, even over a range, or log-normal as real prompts are.
#pragma once

#include <random>
#include <string>

#include "absl/status/statusor.h"

namespace skipstone {

class LengthDistribution {
 public:
  // "128", "64-256", or "lognormal:MEDIAN:SIGMA" with SIGMA of the natural logarithm. From 1 to
  // kMaxTokens. INVALID_ARGUMENT names the text.
  static absl::StatusOr<LengthDistribution> Parse(const std::string& text);

  static constexpr int kMaxTokens = 1 << 22;  // the longest context that is served

  int Draw(std::mt19937_64& random) const;

 private:
  int min_ = 1;
  int max_ = 1;
  double median_ = 0;  // 0: even over [min_, max_]
  double sigma_ = 0;
};

}  // namespace skipstone
