// skipstone-sim: a fleet of simulated servers under a trace or generated traffic.
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/model/config.h"
#include "engine/model/synthetic.h"
#include "tools/sim/options.h"
#include "tools/sim/report.h"

namespace skipstone {
namespace {

constexpr char kUsage[] =
    "skipstone-sim simulates servers with this engine's scheduler under a trace or generated\n"
    "traffic. Prints JSON; tools/sim/report.py makes tables and plots of it.\n"
    "  skipstone-sim --profile=h200.json --kv_pages=417376 --trace=trace.csv --skip=none\n";

absl::StatusOr<ModelShape> ReadShape(const std::string& model) {
  if (IsSyntheticModel(model)) {
    SKIPSTONE_ASSIGN_OR_RETURN(const SyntheticSpec spec, ParseSyntheticModel(model));
    return spec.config.shape;
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(model));
  return config.shape;
}

absl::StatusOr<MachineProfile> ReadProfile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrFormat("--profile=%s: cannot be read", path));
  return ParseMachineProfile({std::istreambuf_iterator<char>(file), {}});
}

absl::StatusOr<SimReport> Simulate(SimOptions& options) {
  SKIPSTONE_ASSIGN_OR_RETURN(const ModelShape shape, ReadShape(options.model));
  SKIPSTONE_ASSIGN_OR_RETURN(const MachineProfile machine, ReadProfile(options.profile));
  SKIPSTONE_RETURN_IF_ERROR(options.Resolve(shape));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<MixPart> mix, ParseMix(options.skip));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<SkipSet> skips,
                             ParseSkipSets(mix, shape.num_layers));
  const CostModel cost(shape, machine, options.fleet.scheduler.page_tokens);
  Simulator simulator(options.fleet, cost, Workload(options.workload, mix), skips);
  return MakeReport(simulator.Run(), options.fleet, mix, options.goodput);
}

absl::Status Run(SimOptions& options) {
  SKIPSTONE_ASSIGN_OR_RETURN(const SimReport report, Simulate(options));
  absl::PrintF("%s", ToJson(report));
  return absl::OkStatus();
}

}  // namespace
}  // namespace skipstone

int main(int argc, char** argv) {
  skipstone::SimOptions options;
  skipstone::FlagSet flags;
  options.AddTo(flags);
  const std::span<const char* const> args(argv, argc);
  if (const auto exit = skipstone::ParseProgramFlags(flags, args, skipstone::kUsage)) return *exit;
  const absl::Status status = skipstone::Run(options);
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "%s\n", std::string(status.message()));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
