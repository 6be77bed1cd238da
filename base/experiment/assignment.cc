#include "base/experiment/assignment.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"

namespace skipstone::experiment {

absl::Status CheckArms(std::span<const Arm> arms) {
  std::set<std::string_view> names;
  double greatest = 0;
  for (const Arm& arm : arms) {
    if (!names.insert(arm.name).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("arms: the arm '%s' appears twice", arm.name));
    }
    if (!(arm.weight >= 0) || !std::isfinite(arm.weight)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("arms.%s.weight: %g is not a number from 0", arm.name, arm.weight));
    }
    greatest = std::max(greatest, arm.weight);
  }
  if (greatest > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("arms: no arm has a weight above 0");
}

std::vector<double> SharesOf(std::span<const Arm> arms) {
  // By the greatest first, so that no sum overflows.
  const double greatest = std::ranges::max_element(arms, {}, &Arm::weight)->weight;
  double sum = 0;
  for (const Arm& arm : arms) sum += arm.weight / greatest;
  std::vector<double> shares;
  for (const Arm& arm : arms) shares.push_back(arm.weight / greatest / sum);
  return shares;
}

uint64_t HashOf(std::string_view salt, std::string_view unit, std::string_view arm) {
  constexpr std::string_view kZero("\0", 1);
  const uint64_t hash = Fnv1a64(unit, Fnv1a64(kZero, Fnv1a64(salt)));
  return Mix64(Fnv1a64(arm, Fnv1a64(kZero, hash)));
}

double UnitFraction(std::string_view salt, std::string_view unit, std::string_view arm) {
  return (static_cast<double>(HashOf(salt, unit, arm) >> 12) + 0.5) * 0x1.0p-52;
}

absl::StatusOr<WeightedArms> WeightedArms::Make(std::string salt, std::span<const Arm> arms) {
  SKIPSTONE_RETURN_IF_ERROR(CheckArms(arms));
  WeightedArms made;
  made.salt_ = std::move(salt);
  const std::vector<double> shares = SharesOf(arms);
  for (size_t i = 0; i < arms.size(); ++i) made.arms_.push_back({arms[i].name, shares[i]});
  return made;
}

size_t WeightedArms::ArmOf(std::string_view unit) const {
  size_t best = 0;
  double best_score = 0;
  for (size_t arm = 0; arm < arms_.size(); ++arm) {
    const double score = -arms_[arm].weight / std::log(UnitFraction(salt_, unit, arms_[arm].name));
    if (score <= best_score) continue;
    best = arm;
    best_score = score;
  }
  return best;
}

}  // namespace skipstone::experiment
