// skipstone-sim: a fleet of simulated servers under a trace or generated traffic.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/model/config.h"
#include "engine/model/synthetic.h"
#include "engine/skip/skip_grammar.h"
#include "tools/sim/report.h"

ABSL_FLAG(std::string, model, "synthetic:llama-2-7b", "Hugging Face directory or synthetic:...");
ABSL_FLAG(std::string, profile, "",
          "the machine (required): JSON of skipstone-engine-bench, or by hand");

ABSL_FLAG(std::string, trace, "", "CSV of arrival, prompt tokens, output tokens; else generated");
ABSL_FLAG(double, time_scale, 1, "the trace's arrival times are multiplied by it; 0: all at once");
ABSL_FLAG(int64_t, requests, 1000, "generated");
ABSL_FLAG(double, rate, 1, "generated requests/s, Poisson");
ABSL_FLAG(std::string, prompt, "128-512", "generated tokens: N, A-B or lognormal:MEDIAN:SIGMA");
ABSL_FLAG(std::string, output, "32-128", "generated tokens: N, A-B or lognormal:MEDIAN:SIGMA");
ABSL_FLAG(std::string, skip, "none", "mix of skip sets: 'none@50;attn:last=33%@50'");
ABSL_FLAG(double, prefix_fraction, 0, "of the prompts begin with a common prefix");
ABSL_FLAG(int, prefixes, 1, "common prefixes that there are");
ABSL_FLAG(int, prefix_tokens, 256, "of each");
ABSL_FLAG(uint64_t, seed, 1, "of all random choices");

ABSL_FLAG(int, replicas, 1, "servers");
ABSL_FLAG(std::string, routing, "least-loaded", "round-robin, least-loaded or prefix-affine");
ABSL_FLAG(int, max_in_flight, 1, "steps a server plans ahead of the oldest result: 1, on CUDA 2");
ABSL_FLAG(int, max_batch_tokens, 512, "work of one step, in prompt rows without skipping");
ABSL_FLAG(int, max_sequences, 256, "sequences that run at once");
ABSL_FLAG(int, page_tokens, 16, "tokens of one K/V page");
ABSL_FLAG(int64_t, kv_pages, 0, "K/V pages of a server (required)");
ABSL_FLAG(bool, prefix_cache, true, "share pages of equal prefixes");
ABSL_FLAG(double, itl_bound_ms, 0, "what prefill may add to a step with decode rows; 0: no bound");
ABSL_FLAG(std::string, ceiling, "", "skip set up to which requests may be moved under load");
ABSL_FLAG(int, brownout_waiting, 512, "waiting sequences above which requests start there");
ABSL_FLAG(double, brownout_pages, 0.95, "share of the pages above which they do; > 1: never");

constexpr double kNoLimit = std::numeric_limits<double>::infinity();
ABSL_FLAG(double, ttft_ms, kNoLimit, "goodput: limit of the time to the first token");
ABSL_FLAG(double, itl_ms, kNoLimit, "goodput: limit of the longest gap between tokens");
ABSL_FLAG(double, tpot_ms, kNoLimit, "goodput: limit of the mean gap between tokens");
ABSL_FLAG(double, e2e_ms, kNoLimit, "goodput: limit of the whole request");

namespace skipstone {
namespace {

constexpr char kUsage[] =
    "skipstone-sim simulates servers with this engine's scheduler under a trace or generated\n"
    "traffic. Prints JSON; tools/sim/report.py makes tables and plots of it.\n"
    "  skipstone-sim --profile=h200.json --kv_pages=417376 --trace=trace.csv --skip=none\n";

// absl's own --help finds no flags of a program whose file is not named after it.
void PrintHelp() {
  std::map<std::string, const absl::CommandLineFlag*> flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::EndsWith(flag->Filename(), "sim/main.cc")) flags[std::string(name)] = flag;
  }
  absl::PrintF("%s\n", kUsage);
  for (const auto& [name, flag] : flags) {
    const std::string value = flag->DefaultValue();
    absl::PrintF("  --%s\n      %s (default: %s)\n", name, flag->Help(),
                 value.empty() ? "none" : value);
  }
}

constexpr int kMaxReplicas = 4096;   // each event looks at all of them; ids fit 16 bits
constexpr double kMaxSeconds = 1e9;  // of simulated arrivals: nanoseconds fit 64 bits

absl::Status Require(bool holds, const char* what) {
  return holds ? absl::OkStatus() : absl::InvalidArgumentError(what);
}

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

// 16-bit weights.
ModelWork WorkOf(const ModelShape& s) {
  const double row_bytes = 2.0 * s.hidden;
  return {.query_bytes = 2 * row_bytes * s.q_size(),
          .kv_bytes = 2 * row_bytes * s.kv_size(),
          .mlp_bytes = 3 * row_bytes * s.ffn,
          .head_bytes = row_bytes * s.vocab};
}

absl::StatusOr<FleetOptions> ReadFleet(const ModelShape& shape) {
  FleetOptions fleet{.scheduler = {.max_batch_tokens = absl::GetFlag(FLAGS_max_batch_tokens),
                                   .max_sequences = absl::GetFlag(FLAGS_max_sequences),
                                   .page_tokens = absl::GetFlag(FLAGS_page_tokens),
                                   .num_pages = absl::GetFlag(FLAGS_kv_pages),
                                   .prefix_cache = absl::GetFlag(FLAGS_prefix_cache),
                                   .brownout_waiting = absl::GetFlag(FLAGS_brownout_waiting),
                                   .work = WorkOf(shape)},
                     .replicas = absl::GetFlag(FLAGS_replicas),
                     .max_in_flight = absl::GetFlag(FLAGS_max_in_flight)};
  SchedulerOptions& scheduler = fleet.scheduler;
  SKIPSTONE_RETURN_IF_ERROR(Require(scheduler.num_pages >= 1, "--kv_pages must be at least 1"));
  SKIPSTONE_RETURN_IF_ERROR(Require(
      scheduler.max_batch_tokens >= 1 && scheduler.max_sequences >= 1 && scheduler.page_tokens >= 1,
      "--max_batch_tokens, --max_sequences and --page_tokens must be at least 1"));
  SKIPSTONE_RETURN_IF_ERROR(Require(fleet.replicas >= 1 && fleet.replicas <= kMaxReplicas,
                                    "--replicas must be from 1 to 4096"));
  SKIPSTONE_RETURN_IF_ERROR(Require(fleet.max_in_flight >= 1 && fleet.max_in_flight <= 2,
                                    "--max_in_flight must be 1 or 2"));
  SKIPSTONE_ASSIGN_OR_RETURN(fleet.routing, ParseRouting(absl::GetFlag(FLAGS_routing)));
  const double bound_s = 1e-3 * absl::GetFlag(FLAGS_itl_bound_ms);
  SKIPSTONE_RETURN_IF_ERROR(
      Require(bound_s >= 0 && bound_s <= kMaxSeconds, "--itl_bound_ms must be from 0 to 1e12"));
  fleet.itl_bound = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bound_s));
  const double pages = absl::GetFlag(FLAGS_brownout_pages);
  SKIPSTONE_RETURN_IF_ERROR(Require(pages >= 0, "--brownout_pages must be at least 0"));
  if (pages <= 1) {
    scheduler.brownout_pages =
        static_cast<int64_t>(pages * static_cast<double>(scheduler.num_pages));
  }
  if (const std::string ceiling = absl::GetFlag(FLAGS_ceiling); !ceiling.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(fleet.ceiling, ParseSkipSet(ceiling, shape.num_layers));
  }
  return fleet;
}

absl::StatusOr<WorkloadOptions> ReadWorkload(int context) {
  const int64_t requests = absl::GetFlag(FLAGS_requests);
  WorkloadOptions options{.time_scale = absl::GetFlag(FLAGS_time_scale),
                          .rate = absl::GetFlag(FLAGS_rate),
                          .context = context,
                          .prefix_fraction = absl::GetFlag(FLAGS_prefix_fraction),
                          .prefixes = absl::GetFlag(FLAGS_prefixes),
                          .prefix_tokens = absl::GetFlag(FLAGS_prefix_tokens),
                          .seed = absl::GetFlag(FLAGS_seed)};
  SKIPSTONE_RETURN_IF_ERROR(
      Require(context >= 2, "the model's context has no room for a prompt and a token"));
  SKIPSTONE_RETURN_IF_ERROR(
      Require(*options.rate > 0 && static_cast<double>(requests) / *options.rate <= kMaxSeconds,
              "--rate must be above 0, and --requests / --rate at most 1e9 s"));
  SKIPSTONE_RETURN_IF_ERROR(Require(options.prefix_fraction >= 0 && options.prefix_fraction <= 1,
                                    "--prefix_fraction must be from 0 to 1"));
  SKIPSTONE_RETURN_IF_ERROR(
      Require(requests >= 0 && options.prefixes >= 1 && options.prefix_tokens >= 0,
              "--requests and --prefix_tokens must be at least 0, --prefixes at least 1"));
  SKIPSTONE_ASSIGN_OR_RETURN(options.prompt,
                             LengthDistribution::Parse(absl::GetFlag(FLAGS_prompt)));
  SKIPSTONE_ASSIGN_OR_RETURN(options.output,
                             LengthDistribution::Parse(absl::GetFlag(FLAGS_output)));
  if (const std::string path = absl::GetFlag(FLAGS_trace); !path.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(options.trace, ReadTraceFile(path));
    const double last = Seconds(options.trace.back().arrival) * options.time_scale;
    SKIPSTONE_RETURN_IF_ERROR(Require(options.time_scale >= 0 && last <= kMaxSeconds,
                                      "--time_scale must be at least 0 and the trace's last "
                                      "arrival times it at most 1e9 s"));
  } else {
    options.requests = requests;
  }
  return options;
}

absl::StatusOr<SimReport> Simulate() {
  SKIPSTONE_ASSIGN_OR_RETURN(const ModelShape shape, ReadShape(absl::GetFlag(FLAGS_model)));
  SKIPSTONE_ASSIGN_OR_RETURN(const MachineProfile machine,
                             ReadProfile(absl::GetFlag(FLAGS_profile)));
  SKIPSTONE_ASSIGN_OR_RETURN(const FleetOptions fleet, ReadFleet(shape));
  SKIPSTONE_ASSIGN_OR_RETURN(const WorkloadOptions workload, ReadWorkload(shape.max_context));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<MixPart> mix, ParseMix(absl::GetFlag(FLAGS_skip)));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<SkipSet> skips,
                             ParseSkipSets(mix, shape.num_layers));
  const GoodputLimits limits{.ttft_s = 1e-3 * absl::GetFlag(FLAGS_ttft_ms),
                             .itl_s = 1e-3 * absl::GetFlag(FLAGS_itl_ms),
                             .tpot_s = 1e-3 * absl::GetFlag(FLAGS_tpot_ms),
                             .e2e_s = 1e-3 * absl::GetFlag(FLAGS_e2e_ms)};
  Simulator simulator(fleet, CostModel(shape, machine), Workload(workload, mix), skips);
  return MakeReport(simulator.Run(), fleet, mix, limits);
}

absl::Status Main() {
  SKIPSTONE_ASSIGN_OR_RETURN(const SimReport report, Simulate());
  absl::PrintF("%s", ToJson(report));
  return absl::OkStatus();
}

}  // namespace
}  // namespace skipstone

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(skipstone::kUsage);
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--help") continue;
    skipstone::PrintHelp();
    return 0;
  }
  if (absl::ParseCommandLine(argc, argv).size() > 1) {
    absl::FPrintF(stderr, "skipstone-sim takes flags only; --help lists them\n");
    return 2;
  }
  const absl::Status status = skipstone::Main();
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "%s\n", std::string(status.message()));
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
