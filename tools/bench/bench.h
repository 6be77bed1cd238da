// Runs the engine without gRPC and compares it with its floors. In each round the ceilings are
// measured, then the arms take turns: the prefill of each, then decode steps A B A B. Ratios
// between arms are therefore taken from neighbours, which a noisy machine slows down alike. Where
// steps overlap the turns are blocks of steps, each begun with one that does not count.
#pragma once

#include "absl/status/statusor.h"
#include "engine/make_backend.h"
#include "tools/bench/bench_result.h"
#include "tools/bench/options.h"

namespace skipstone {

// Blocks until all rounds are done; uses options.threads threads. Errors: of LoadModel and of the
// skip grammar; INVALID_ARGUMENT for more tokens than the model's context; RESOURCE_EXHAUSTED;
// UNIMPLEMENTED: --stages on a device without a probe; of the device.
absl::StatusOr<BenchResult> RunBench(const BenchOptions& options);

// The same of a loaded model, for which options.model is only a name.
absl::StatusOr<BenchResult> RunBench(const BenchOptions& options, LoadedModel model);

}  // namespace skipstone
