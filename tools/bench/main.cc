// skipstone-engine-bench: decode and prefill of the engine against the floors of the machine.
#include <cstdio>

#include "absl/strings/str_format.h"
#include "tools/bench/bench.h"

int main(int argc, char** argv) {
  const absl::StatusOr<skipstone::BenchOptions> options =
      skipstone::ParseBenchOptions({argv + 1, argv + argc});
  if (!options.ok()) {
    absl::FPrintF(stderr, "%s\n", std::string(options.status().message()));
    return 2;
  }
  if (options->help) {
    absl::PrintF("%s", skipstone::BenchUsage());
    return 0;
  }
  const absl::StatusOr<skipstone::BenchResult> result = skipstone::RunBench(*options);
  if (!result.ok()) {
    absl::FPrintF(stderr, "%s\n", std::string(result.status().message()));
    return 1;
  }
  absl::PrintF("%s", options->json ? skipstone::ToJson(*result) : skipstone::ToTable(*result));
  return 0;
}
