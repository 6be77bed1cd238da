#include "base/statistics/switchback.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/hash.h"
#include "base/status.h"

namespace skipstone::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
enum Side : int { kControl = 0, kTreatment = 1, kOther = 2 };

// The experiment but for its assignment.
struct Design {
  int carry_over = 0;
  std::vector<double> numerators;
  std::vector<double> denominators;
  std::vector<std::vector<size_t>> blocks;  // windows that may change sides
  // 1 / chance that a window and those before it form a run on a side; 0 where a run on one of both
  // sides has no chance.
  std::array<std::vector<double>, 2> weights;
};
using Assignment = std::vector<Side>;  // of each window

absl::Status Validate(std::span<const Window> windows, const SwitchbackOptions& options) {
  if (!(options.alpha > 0 && options.alpha < 1) || options.draws < 99 || options.carry_over < 0 ||
      options.control == options.treatment) {
    return absl::InvalidArgumentError(
        "a switchback needs two arms, alpha between 0 and 1, 99 or more draws, carry-over >= 0");
  }
  std::set<int> blocks;
  for (size_t t = 0; t < windows.size(); ++t) {
    const Window& w = windows[t];
    if (!std::isfinite(w.numerator) || !std::isfinite(w.denominator) || w.denominator < 0 ||
        (w.denominator == 0 && w.numerator != 0)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("window %d: no ratio %g / %g", t, w.numerator, w.denominator));
    }
    if ((t == 0 || w.block != windows[t - 1].block) && !blocks.insert(w.block).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("window %d: block %d ended before", t, w.block));
    }
  }
  return absl::OkStatus();
}

Assignment SidesOf(std::span<const Window> windows, const SwitchbackOptions& options) {
  Assignment sides;
  for (const Window& w : windows) {
    sides.push_back(w.arm == options.control     ? kControl
                    : w.arm == options.treatment ? kTreatment
                                                 : kOther);
  }
  return sides;
}

// Chance that the windows `first` to `last` are all on `side`: drawn without replacement from each
// of their blocks. `in_block`: windows of each window's block by side.
double RunChance(std::span<const Window> windows, const Assignment& sides,
                 const std::vector<std::array<double, 2>>& in_block, size_t first, size_t last,
                 Side side) {
  double chance = 1;
  double drawn = 0;  // of this block
  for (size_t t = first; t <= last; ++t, ++drawn) {
    if (t > first && windows[t].block != windows[t - 1].block) drawn = 0;
    if (sides[t] == kOther || in_block[t][side] <= drawn) return 0;
    chance *= (in_block[t][side] - drawn) / (in_block[t][0] + in_block[t][1] - drawn);
  }
  return chance;
}

std::vector<std::array<double, 2>> CountByBlock(std::span<const Window> windows,
                                                const Assignment& sides) {
  std::vector<std::array<double, 2>> in_block(windows.size());
  for (size_t begin = 0, end = 0; begin < windows.size(); begin = end) {
    std::array<double, 2> counts = {};
    for (; end < windows.size() && windows[end].block == windows[begin].block; ++end) {
      if (sides[end] != kOther) ++counts[sides[end]];
    }
    std::fill(in_block.begin() + begin, in_block.begin() + end, counts);
  }
  return in_block;
}

Design MakeDesign(std::span<const Window> windows, const Assignment& sides,
                  const SwitchbackOptions& options) {
  Design design;
  design.carry_over = options.carry_over;
  const auto in_block = CountByBlock(windows, sides);
  for (size_t t = 0; t < windows.size(); ++t) {
    const Window& w = windows[t];
    const bool is_mean = options.weight == WindowWeight::kWindow && w.denominator > 0;
    design.numerators.push_back(is_mean ? w.numerator / w.denominator : w.numerator);
    design.denominators.push_back(is_mean ? 1 : w.denominator);
    if (t == 0 || w.block != windows[t - 1].block) design.blocks.emplace_back();
    if (sides[t] != kOther) design.blocks.back().push_back(t);
    std::array<double, 2> chances = {};
    if (t >= options.carry_over) {
      for (const Side side : {kControl, kTreatment}) {
        chances[side] = RunChance(windows, sides, in_block, t - options.carry_over, t, side);
      }
    }
    const bool has_chance = chances[0] > 0 && chances[1] > 0;
    for (int side = 0; side < 2; ++side) {
      design.weights[side].push_back(has_chance ? 1 / chances[side] : 0);
    }
  }
  return design;
}

// Calls visit(window, side) for each window that ends a run of 1 + carry_over windows of its side.
template <class Visit>
void ForEachRun(const Design& design, const Assignment& sides, Visit visit) {
  int64_t run = 0;
  for (size_t t = 0; t < sides.size(); ++t) {
    run = t > 0 && sides[t] == sides[t - 1] ? run + 1 : 1;
    if (run <= design.carry_over || sides[t] == kOther || design.weights[0][t] == 0) continue;
    visit(t, sides[t]);
  }
}

// What one assignment makes of the windows as they were.
struct Statistic {
  std::array<double, 2> ratios = {};   // of numerators, by side
  std::array<double, 2> overlap = {};  // share of the denominators that was treated in truth
  bool is_defined = false;             // windows count on both sides

  double Difference() const { return ratios[kTreatment] - ratios[kControl]; }
  double Overlap() const { return overlap[kTreatment] - overlap[kControl]; }
};

Statistic StatisticOf(const Design& design, const Assignment& sides, const Assignment& truth) {
  std::array<double, 2> numerators = {};
  std::array<double, 2> denominators = {};
  std::array<double, 2> treated = {};
  ForEachRun(design, sides, [&](size_t t, Side side) {
    const double weight = design.weights[side][t];
    numerators[side] += weight * design.numerators[t];
    denominators[side] += weight * design.denominators[t];
    if (truth[t] == kTreatment) treated[side] += weight * design.denominators[t];
  });
  Statistic statistic;
  statistic.is_defined = denominators[0] > 0 && denominators[1] > 0;
  for (int side = 0; side < 2 && statistic.is_defined; ++side) {
    statistic.ratios[side] = numerators[side] / denominators[side];
    statistic.overlap[side] = treated[side] / denominators[side];
  }
  return statistic;
}

// How many assignments the blocks allow; infinite above 1e300.
double Assignments(const Design& design, const Assignment& sides) {
  double product = 1;
  for (const auto& block : design.blocks) {
    int64_t treated = 0;
    for (const size_t t : block) treated += sides[t] == kTreatment;
    for (int64_t i = 1; i <= treated; ++i) {
      product *= static_cast<double>(block.size() - treated + i) / i;
    }
  }
  return std::round(product);
}

// Takes the sides of a block's windows through all their orders: the first has all controls first.
void FirstInBlock(const std::vector<size_t>& block, Assignment& sides) {
  int64_t controls = 0;
  for (const size_t t : block) controls += sides[t] == kControl;
  for (const size_t t : block) sides[t] = controls-- > 0 ? kControl : kTreatment;
}

// False, and the first order again, after the last.
bool NextInBlock(const std::vector<size_t>& block, Assignment& sides) {
  std::vector<Side> own;
  own.reserve(block.size());
  for (const size_t t : block) own.push_back(sides[t]);
  const bool is_next = std::next_permutation(own.begin(), own.end());
  for (size_t i = 0; i < block.size(); ++i) sides[block[i]] = own[i];
  return is_next;
}

void Shuffle(const std::vector<size_t>& block, uint64_t& counter, Assignment& sides) {
  for (size_t i = block.size(); i > 1; --i) {
    const size_t j = (Mix64(counter++) >> 32) * i >> 32;  // a bias below i / 2^32
    std::swap(sides[block[i - 1]], sides[block[j]]);
  }
}

// Calls visit(assignment) for all assignments, or `draws` at random.
template <class Visit>
void ForEachAssignment(const Design& design, Assignment sides, bool is_exact,
                       const SwitchbackOptions& options, Visit visit) {
  if (!is_exact) {
    uint64_t counter = Mix64(options.seed);
    for (int i = 0; i < options.draws; ++i) {
      for (const auto& block : design.blocks) Shuffle(block, counter, sides);
      visit(sides);
    }
    return;
  }
  for (const auto& block : design.blocks) FirstInBlock(block, sides);
  // Like an odometer: a block that has gone round moves the one after it.
  do {
    visit(sides);
  } while (std::any_of(design.blocks.begin(), design.blocks.end(),
                       [&](const auto& block) { return NextInBlock(block, sides); }));
}

// The constant differences that an assignment does not speak against. If d is true, taking d from
// each treated window leaves values that depend on no arm; under the assignment their statistic is
// difference - d * overlap, under the true one truth - d, and the former is the larger one where
// (difference - d * overlap)^2 >= (truth - d)^2: between the two roots.
Interval KeptDifferences(const Statistic& statistic, double truth) {
  const double overlap = statistic.Overlap();
  if (!statistic.is_defined || std::abs(overlap) > 1 - 1e-12) return {-kInfinity, kInfinity};
  const double a = (truth - statistic.Difference()) / (1 - overlap);
  const double b = (truth + statistic.Difference()) / (1 + overlap);
  return {std::min(a, b), std::max(a, b)};
}

// The differences that more than alpha of `total` assignments keep, of which `unlisted` are not in
// `kept`. All of these intervals hold the estimate, so shares fall to both sides of it.
Interval Invert(const std::vector<Interval>& kept, double alpha, double total, int64_t unlisted) {
  const int64_t needed = static_cast<int64_t>(std::floor(alpha * total + 1e-9)) + 1 - unlisted;
  if (needed <= 0) return {-kInfinity, kInfinity};
  std::vector<double> lows;
  std::vector<double> highs;
  for (const Interval& interval : kept) {
    lows.push_back(interval.low);
    highs.push_back(-interval.high);
  }
  std::nth_element(lows.begin(), lows.begin() + needed - 1, lows.end());
  std::nth_element(highs.begin(), highs.begin() + needed - 1, highs.end());
  return {lows[needed - 1], -highs[needed - 1]};
}

}  // namespace

absl::StatusOr<SwitchbackResult> EstimateSwitchback(std::span<const Window> windows,
                                                    const SwitchbackOptions& options) {
  SKIPSTONE_RETURN_IF_ERROR(Validate(windows, options));
  const Assignment truth = SidesOf(windows, options);
  const Design design = MakeDesign(windows, truth, options);
  const Statistic observed = StatisticOf(design, truth, truth);
  if (!observed.is_defined) {
    return absl::FailedPreconditionError("an arm has no window that counts");
  }
  SwitchbackResult result = {.difference = observed.Difference(),
                             .control = observed.ratios[kControl],
                             .treatment = observed.ratios[kTreatment]};
  ForEachRun(design, truth, [&](size_t t, Side side) {
    if (design.denominators[t] == 0) return;
    ++(side == kControl ? result.control_windows : result.treatment_windows);
  });
  const double assignments = Assignments(design, truth);
  result.is_exact = assignments <= options.draws;
  std::vector<Interval> kept;
  int64_t as_large = 0;
  ForEachAssignment(design, truth, result.is_exact, options, [&](const Assignment& sides) {
    const Statistic statistic = StatisticOf(design, sides, truth);
    // Equal statistics differ by their rounding.
    as_large += !statistic.is_defined ||
                std::abs(statistic.Difference()) >= std::abs(result.difference) * (1 - 1e-12);
    kept.push_back(KeptDifferences(statistic, result.difference));
  });
  // The true assignment belongs to the draws (Phipson and Smyth 2010); enumeration has met it.
  const int64_t unlisted = result.is_exact ? 0 : 1;
  const double total = static_cast<double>(kept.size()) + unlisted;
  result.p_value = (as_large + unlisted) / total;
  result.interval = Invert(kept, options.alpha, total, unlisted);
  return result;
}

absl::StatusOr<double> HorvitzThompson(std::span<const Window> windows,
                                       const SwitchbackOptions& options) {
  SKIPSTONE_RETURN_IF_ERROR(Validate(windows, options));
  const Assignment sides = SidesOf(windows, options);
  SwitchbackOptions by_window = options;
  by_window.weight = WindowWeight::kWindow;
  const Design design = MakeDesign(windows, sides, by_window);
  int64_t counted = 0;
  for (size_t t = 0; t < windows.size(); ++t) {
    counted += design.weights[0][t] > 0 && design.denominators[t] > 0;
  }
  if (counted == 0) return absl::FailedPreconditionError("no window could count");
  double sum = 0;
  ForEachRun(design, sides, [&](size_t t, Side side) {
    sum += (side == kTreatment ? 1 : -1) * design.weights[side][t] * design.numerators[t];
  });
  return sum / counted;
}

}  // namespace skipstone::statistics
