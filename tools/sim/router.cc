#include "tools/sim/router.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "absl/strings/str_format.h"
#include "base/hash.h"

namespace skipstone {
namespace {

constexpr double kLoadBound = 1.25;  // times the mean

int LeastLoaded(std::span<const int> loads) {
  return static_cast<int>(std::distance(loads.begin(), std::ranges::min_element(loads)));
}

// Rendezvous hashing: the prefix ranks the replicas; the first with room takes the request. Rounded
// up, the bound leaves room on the least loaded one at least.
int PrefixAffine(std::span<const int> loads, uint64_t prefix) {
  const double total = std::accumulate(loads.begin(), loads.end(), 1.0);  // with the request itself
  const double bound = std::ceil(kLoadBound * total / static_cast<double>(loads.size()));
  int best = -1;
  uint64_t best_rank = 0;
  for (int i = 0; i < static_cast<int>(loads.size()); ++i) {
    const uint64_t rank = Mix64(Mix64(prefix) + static_cast<uint64_t>(i));
    if (loads[i] + 1 > bound || (best >= 0 && rank <= best_rank)) continue;
    best = i;
    best_rank = rank;
  }
  return best;
}

}  // namespace

absl::StatusOr<Routing> ParseRouting(const std::string& text) {
  if (text == "round-robin") return Routing::kRoundRobin;
  if (text == "least-loaded") return Routing::kLeastLoaded;
  if (text == "prefix-affine") return Routing::kPrefixAffine;
  return absl::InvalidArgumentError(
      absl::StrFormat("\"%s\" is not round-robin, least-loaded or prefix-affine", text));
}

int Router::Choose(std::span<const int> loads, std::optional<uint64_t> prefix) {
  if (routing_ == Routing::kRoundRobin) return static_cast<int>(chosen_++ % loads.size());
  if (routing_ == Routing::kPrefixAffine && prefix) return PrefixAffine(loads, *prefix);
  return LeastLoaded(loads);
}

}  // namespace skipstone
