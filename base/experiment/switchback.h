// A switchback: all traffic takes one arm per window of time, so that the arms' latencies and
// throughputs can be compared though they share batches, pages and queue. Which arm is a pure
// function of wall clock, salt and arms: all replicas switch together, none remembers anything, and
// a clock that jumps back repeats what it had.
//
//   auto schedule = Switchback::Make("2026-11", arms, std::chrono::seconds(60), washout);
//   const Switchback::Window window = schedule->At(std::chrono::system_clock::now());
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/experiment/assignment.h"

namespace skipstone::experiment {

// Windows come in blocks, and each block has every arm as often as its weight asks for, in an order
// of its own drawn from the salt: equal arms are balanced over every stretch of time, whatever its
// trend or time of day, and the order stays random, which the randomisation p-values rest on
// (Bojinov, Simchi-Levi, Zhao 2023; blocks as in regular balanced switchbacks).
//
// Window w = floor(unix time / length) is window w mod B of block b = floor(w / B). The order of a
// block: write the arms in their order, each as often as the block has it; then for k from B-1 down
// to 1 swap place k with place floor(u (k + 1)), u = UnitFraction(salt, "block:b", "k").
//
// Immutable, so thread-safe.
class Switchback {
 public:
  using Time = std::chrono::system_clock::time_point;
  using Milliseconds = std::chrono::milliseconds;

  // INVALID_ARGUMENT: the errors of CheckArms, a window under 1 s, a washout below 0 or not shorter
  // than the window, a weight too small for a block of kMostWindows.
  static absl::StatusOr<Switchback> Make(std::string salt, std::span<const Arm> arms,
                                         Milliseconds window, Milliseconds washout);

  struct Window {
    int64_t index = 0;
    int64_t block = 0;
    size_t arm = 0;  // index
    // False in the washout: the first part of a window whose predecessor had another arm, while
    // requests of that arm still run.
    bool counted = true;
  };
  Window At(Time now) const;

  // The arm of a window by its index.
  size_t ArmOf(int64_t window) const;
  // How often each arm is in a block.
  std::span<const int> block_counts() const { return counts_; }
  int64_t windows_of_block() const;
  Milliseconds window() const { return window_; }
  Milliseconds washout() const { return washout_; }

  // A block is as short as its arms' weights allow, from two windows an arm on.
  static constexpr int kMostWindows = 200;

 private:
  int64_t IndexAt(Time now) const;

  std::string salt_;
  std::vector<int> counts_;  // by arm
  Milliseconds window_{};
  Milliseconds washout_{};
};

}  // namespace skipstone::experiment
