// skipstone-engine-bench: decode and prefill of the engine against the floors of the machine.
#include <span>

#include "absl/strings/str_format.h"
#include "tools/bench/bench.h"

int main(int argc, char** argv) {
  skipstone::BenchOptions options;
  skipstone::FlagSet flags;
  options.AddTo(flags);
  const std::span<const char* const> args(argv, argc);
  constexpr char kUsage[] = "skipstone-engine-bench: the engine without gRPC, against its floors\n";
  if (const auto exit = skipstone::ParseProgramFlags(flags, args, kUsage)) return *exit;
  absl::Status status = options.Check();
  const int failed = status.ok() ? 1 : 2;
  if (status.ok()) {
    const absl::StatusOr<skipstone::BenchResult> result = skipstone::RunBench(options);
    status = result.status();
    if (result.ok()) absl::PrintF("%s", options.json ? ToJson(*result) : ToTable(*result));
  }
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "%s\n", std::string(status.message()));
  return failed;
}
