// Estimates from a switchback: all traffic takes one arm per window, and arms change between
// windows by balanced random blocks. What is random is the assignment, so p-values and intervals
// come from assigning anew within the blocks: they hold however requests and neighbouring windows
// depend on each other. Bojinov, Simchi-Levi and Zhao, "Design and analysis of switchback
// experiments" (arXiv 2009.00148). All functions are pure: any thread may call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/statistics/interval.h"

namespace skipstone::statistics {

// All windows of the design are given, in order of time, also those without traffic: they too
// belong to their block and come before others.
struct Window {
  int block = 0;  // windows of a block follow each other and have equal numbers here
  int arm = 0;
  // A sum over the window's requests, its washout not counted. Logarithms of windows' values over
  // denominators of 1 make a difference of arms the logarithm of their ratio.
  double numerator = 0;
  double denominator = 0;  // requests or tokens, >= 0; 0: nothing was counted
};

enum class WindowWeight {
  kDenominator,  // arms are sum / sum: each request counts alike
  kWindow,       // arms are means of the windows' ratios: each window counts alike
};

struct SwitchbackOptions {
  int control = 0;
  int treatment = 1;
  WindowWeight weight = WindowWeight::kDenominator;
  // Order m of the carry-over: a window counts only if the m before it had its arm. 0 where the
  // washout is longer than what carries over.
  int carry_over = 0;
  double alpha = 0.05;  // in (0, 1)
  int draws = 9'999;    // >= 99 assignments at random, or all where there are no more than that
  uint64_t seed = 1;    // equal seeds give equal results everywhere
};

struct SwitchbackResult {
  // Treatment less control. Windows weigh by one over the chance that they and the m before them
  // have their arm, divided by the sum of these weights (Hajek's form of the estimator below).
  double difference = 0;
  double control = 0;
  double treatment = 0;
  int control_windows = 0;  // that count
  int treatment_windows = 0;
  // Two-sided, of "no window's value depends on its arm": exact.
  double p_value = 1;
  // Of a constant difference, by inversion of that test under "each request (kWindow: each window)
  // gains it where its own window is treated". Infinite where so few assignments reject nothing.
  Interval interval;
  bool is_exact = false;  // all assignments were tried
};

// Windows of other arms keep them, and break runs. InvalidArgument for options outside their
// ranges, values that are not finite, denominators below 0 and blocks that do not hang together;
// FailedPrecondition where an arm has no window that counts.
absl::StatusOr<SwitchbackResult> EstimateSwitchback(std::span<const Window> windows,
                                                    const SwitchbackOptions& options);

// The Horvitz-Thompson estimator of order m (eq. 4 there), of windows' ratios: the mean over
// windows after the first m of ratio / chance in runs of treatment, less the same in runs of
// control. Has no bias under the design, but more variance than `difference` above. Windows whose
// run of one of both arms has no chance in their blocks are left out. Errors as above.
absl::StatusOr<double> HorvitzThompson(std::span<const Window> windows,
                                       const SwitchbackOptions& options);

}  // namespace skipstone::statistics
