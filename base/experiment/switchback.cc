#include "base/experiment/switchback.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace skipstone::experiment {
namespace {

// The share of an arm may be off by so much where no block of whole windows has it exactly.
constexpr double kMostOff = 0.005;
constexpr double kExact = 1e-9;

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Windows of each arm in a block of `windows`, by largest remainders; *off: how far a share is off.
std::vector<int> CountsOf(std::span<const double> shares, int windows, double* off) {
  std::vector<int> counts;
  for (const double share : shares) counts.push_back(static_cast<int>(share * windows));
  const auto missing = [&](size_t arm) { return shares[arm] * windows - counts[arm]; };
  for (int left = windows - std::accumulate(counts.begin(), counts.end(), 0); left > 0; --left) {
    size_t most = 0;
    for (size_t arm = 1; arm < shares.size(); ++arm) {
      if (missing(arm) > missing(most)) most = arm;
    }
    ++counts[most];
  }
  *off = 0;
  for (size_t arm = 0; arm < shares.size(); ++arm) {
    *off = std::max(*off, std::abs(missing(arm)) / windows);
  }
  return counts;
}

// The shortest block with the exact shares, else the shortest that comes close.
std::optional<std::vector<int>> BlockOf(std::span<const double> shares) {
  std::optional<std::vector<int>> close;
  const auto arms = std::ranges::count_if(shares, [](double share) { return share > 0; });
  for (int windows = 2 * static_cast<int>(arms); windows <= Switchback::kMostWindows; ++windows) {
    double off = 0;
    std::vector<int> counts = CountsOf(shares, windows, &off);
    bool all = true;
    for (size_t arm = 0; arm < shares.size(); ++arm) all &= counts[arm] > 0 || shares[arm] == 0;
    if (all && off < kExact) return counts;
    if (all && off < kMostOff && !close) close = std::move(counts);
  }
  return close;
}

}  // namespace

absl::StatusOr<Switchback> Switchback::Make(std::string salt, std::span<const Arm> arms,
                                            Milliseconds window, Milliseconds washout) {
  SKIPSTONE_RETURN_IF_ERROR(CheckArms(arms));
  const auto text = [](Milliseconds time) { return absl::FormatDuration(absl::FromChrono(time)); };
  if (window < std::chrono::seconds(1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("unit: a window of %s, 1s is the least", text(window)));
  }
  if (washout < Milliseconds::zero() || washout >= window) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "washout: %s of windows of %s leaves nothing to count", text(washout), text(window)));
  }
  auto counts = BlockOf(SharesOf(arms));
  if (!counts) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "arms: a weight is too small for a block of %d windows to have the arm", kMostWindows));
  }
  Switchback made;
  made.salt_ = std::move(salt);
  made.counts_ = *std::move(counts);
  made.window_ = window;
  made.washout_ = washout;
  return made;
}

int64_t Switchback::windows_of_block() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

size_t Switchback::ArmOf(int64_t window) const {
  std::vector<size_t> places;
  for (size_t arm = 0; arm < counts_.size(); ++arm) places.insert(places.end(), counts_[arm], arm);
  const int64_t windows = std::ssize(places);
  const int64_t block = FloorDivide(window, windows);
  const std::string name = absl::StrCat("block:", block);
  for (int64_t k = windows - 1; k > 0; --k) {
    const double u = UnitFraction(salt_, name, absl::StrCat(k));
    // Rounding brings no product up to k + 1: u is at most 1 - 2^-53.
    std::swap(places[k], places[static_cast<int64_t>(u * static_cast<double>(k + 1))]);
  }
  return places[window - block * windows];
}

int64_t Switchback::IndexAt(Time now) const {
  const auto since = std::chrono::floor<Milliseconds>(now.time_since_epoch());
  return FloorDivide(since.count(), window_.count());
}

Switchback::Window Switchback::At(Time now) const {
  Window window{.index = IndexAt(now)};
  window.block = FloorDivide(window.index, windows_of_block());
  window.arm = ArmOf(window.index);
  const bool early = now < Time(window.index * window_ + washout_);
  window.counted = !early || ArmOf(window.index - 1) == window.arm;
  return window;
}

}  // namespace skipstone::experiment
