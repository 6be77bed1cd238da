// Which arm of an experiment a unit belongs to: a user, a key, whatever is to stay in one arm. The
// arithmetic that server and reports share. Pure functions and immutable values: any thread may
// call, and every process gets the same answers.
//
//   auto arms = WeightedArms::Make("2026-11", {{"control", 50}, {"treatment", 50}});
//   const size_t arm = arms->ArmOf("user-7");
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skipstone::experiment {

struct Arm {
  std::string name;
  double weight = 0;  // relative to the other arms; 0: nobody
};

// INVALID_ARGUMENT names the arm: none at all, a name twice, a weight that is negative, infinite or
// no number; weights that sum to zero.
absl::Status CheckArms(std::span<const Arm> arms);

// The arms' parts of all units, which sum to 1, of arms that CheckArms takes.
std::vector<double> SharesOf(std::span<const Arm> arms);

// FNV-1a 64 of salt, unit and arm, parted by zero bytes, mixed: uniform also over units that differ
// in one character. A contract: see ExperimentArm in inference.proto.
uint64_t HashOf(std::string_view salt, std::string_view unit, std::string_view arm);
// The upper 52 bits of it as a number in (0, 1).
double UnitFraction(std::string_view salt, std::string_view unit, std::string_view arm);
// What stands for a unit in logs: its hash without an arm. A pseudonym, not anonymity: who knows
// the salt can try units.
inline uint64_t UnitHash(std::string_view salt, std::string_view unit) {
  return HashOf(salt, unit, "");
}

// Weighted rendezvous hashing (Thaler and Ravishankar 1998): each arm draws an exponential variable
// at the rate of its weight, the first wins. What an arm draws depends on no other arm, so when
// weights change, a unit moves only to an arm whose weight grew against that of its own.
class WeightedArms {
 public:
  // The errors of CheckArms.
  static absl::StatusOr<WeightedArms> Make(std::string salt, std::span<const Arm> arms);

  // The index of an arm, of weight above 0.
  size_t ArmOf(std::string_view unit) const;

 private:
  std::string salt_;
  std::vector<Arm> arms_;  // with their shares
};

}  // namespace skipstone::experiment
