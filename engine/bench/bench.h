// Runs the engine without gRPC and compares it with its floors. In each round the ceilings are
// measured, then the skip sets take turns: the prefill of each, then decode steps A B A B. Ratios
// between skip sets are therefore taken from neighbours, which a noisy machine slows down alike.
#pragma once

#include "absl/status/statusor.h"
#include "engine/bench/bench_result.h"
#include "engine/bench/options.h"

namespace skipstone {

// Blocks until all rounds are done; uses options.threads threads. Errors: of LoadModel and of the
// skip grammar; INVALID_ARGUMENT for more tokens than the model's context; RESOURCE_EXHAUSTED.
absl::StatusOr<BenchResult> RunBench(const BenchOptions& options);

}  // namespace skipstone
