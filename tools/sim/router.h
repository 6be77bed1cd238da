// Chooses the replica of each request.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace skipstone {

enum class Routing {
  kRoundRobin,
  kLeastLoaded,  // fewest unfinished requests, ties to the lowest number
  // Requests with a common prefix go to its own replica, so that its pages lie in one place. Where
  // that one has more than 1.25 times its share of the unfinished requests, the prefix's next
  // choice takes over (consistent hashing with bounded loads). The others go to the least loaded.
  kPrefixAffine,
};

// "round-robin", "least-loaded" or "prefix-affine".
absl::StatusOr<Routing> ParseRouting(const std::string& text);

// One thread.
class Router {
 public:
  explicit Router(Routing routing) : routing_(routing) {}

  // `loads`: unfinished requests by replica, at least one. `prefix`: a number of the common prefix.
  int Choose(std::span<const int> loads, std::optional<uint64_t> prefix);

 private:
  const Routing routing_;
  uint64_t chosen_ = 0;
};

}  // namespace skipstone
