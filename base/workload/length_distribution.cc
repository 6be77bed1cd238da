#include "base/workload/length_distribution.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace skipstone {

absl::StatusOr<LengthDistribution> LengthDistribution::Parse(const std::string& text) {
  LengthDistribution lengths;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() == 3 && parts[0] == "lognormal") {
    if (absl::SimpleAtod(parts[1], &lengths.median_) && lengths.median_ >= 1 &&
        lengths.median_ <= kMaxTokens && absl::SimpleAtod(parts[2], &lengths.sigma_) &&
        lengths.sigma_ >= 0 && lengths.sigma_ <= 10) {
      return lengths;
    }
  } else {
    const std::vector<absl::string_view> ends = absl::StrSplit(text, '-');
    if (ends.size() <= 2 && absl::SimpleAtoi(ends.front(), &lengths.min_) &&
        absl::SimpleAtoi(ends.back(), &lengths.max_) && 1 <= lengths.min_ &&
        lengths.min_ <= lengths.max_ && lengths.max_ <= kMaxTokens) {
      return lengths;
    }
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "\"%s\" is not N, A-B with 1 <= A <= B <= %d, or lognormal:MEDIAN:SIGMA with SIGMA <= 10",
      text, kMaxTokens));
}

int LengthDistribution::Draw(std::mt19937_64& random) const {
  if (median_ == 0) return std::uniform_int_distribution(min_, max_)(random);
  const double tokens = std::lognormal_distribution(std::log(median_), sigma_)(random);
  return static_cast<int>(std::clamp(std::round(tokens), 1.0, double{kMaxTokens}));
}

}  // namespace skipstone
