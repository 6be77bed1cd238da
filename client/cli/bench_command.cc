// `skipstone bench`: load on a server, and what the requests experienced.
#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/workload/workload.h"
#include "client/channel.h"
#include "client/cli/bench_report.h"
#include "client/cli/command.h"
#include "client/cli/load_runner.h"
#include "client/cli/proto_json.h"
#include "client/cli/skip_flag.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

// Errors name the flag.
template <class Value>
absl::StatusOr<Value> Named(const char* flag, absl::StatusOr<Value> value) {
  if (value.ok()) return value;
  return absl::InvalidArgumentError(
      absl::StrFormat("--%s: %s", flag, std::string(value.status().message())));
}

struct BenchFlags {
  std::optional<double> rate;
  std::optional<uint64_t> concurrency;
  std::string trace;
  double time_scale = 1;
  std::string prompt_tokens = "128";
  std::string output_tokens = "64";
  std::optional<uint64_t> requests;
  std::optional<absl::Duration> duration;
  std::string skip;
  std::string ceiling;
  std::string goodput;
  uint64_t seed = 1;

  void AddTo(FlagSet& flags);
  absl::Status Validate() const;
  // All but the trace and the model's context.
  absl::StatusOr<WorkloadOptions> ToWorkloadOptions() const;
};

void BenchFlags::AddTo(FlagSet& flags) {
  flags.Add("rate", &rate, "open loop: Poisson arrivals, requests per second");
  flags.Add("concurrency", &concurrency, "closed loop: so many requests always open (default 1)");
  flags.Add("trace", &trace, "open loop: CSV file of ARRIVAL,PROMPT_TOKENS,OUTPUT_TOKENS");
  flags.Add("time_scale", &time_scale, "arrival times of the trace are multiplied by it");
  flags.Add("prompt_tokens", &prompt_tokens, "N, A-B or lognormal:MEDIAN:SIGMA, random ids");
  flags.Add("output_tokens", &output_tokens, "N, A-B or lognormal:MEDIAN:SIGMA");
  flags.Add("requests", &requests, "stop after so many (default 100 without --duration, --trace)");
  flags.Add("duration", &duration, "start no request after so long, such as 60s");
  flags.Add("skip", &skip, "mix of levels and specs with weights, such as 'full@50;attn-33@50'");
  flags.Add("ceiling", &ceiling,
            "level or skip spec up to which the server may skip more under load; a superset of "
            "every part of --skip");
  flags.Add("goodput", &goodput,
            "limits in ms, such as 'ttft:500,itl:50'; also tpot, e2e. itl: of the longest gap");
  flags.Add("seed", &seed, "of arrivals, lengths, mix and prompts");
}

absl::Status BenchFlags::Validate() const {
  if (rate.has_value() + concurrency.has_value() + !trace.empty() > 1) {
    return absl::InvalidArgumentError("give one of --rate, --concurrency and --trace");
  }
  // Arrivals at an infinite rate would never come to --duration.
  if (rate && (!(*rate > 0) || std::isinf(*rate))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--rate must be a number above 0, not %g", *rate));
  }
  if (concurrency && *concurrency == 0) {
    return absl::InvalidArgumentError("--concurrency must be at least 1, not 0");
  }
  if (requests && *requests == 0) {
    return absl::InvalidArgumentError("--requests must be at least 1, not 0");
  }
  if (duration && *duration <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--duration must be more than 0, not %s", absl::FormatDuration(*duration)));
  }
  if (!(time_scale >= 0) || std::isinf(time_scale)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--time_scale must be a number of at least 0, not %g", time_scale));
  }
  return absl::OkStatus();
}

absl::StatusOr<WorkloadOptions> BenchFlags::ToWorkloadOptions() const {
  WorkloadOptions options;
  options.rate = rate;
  options.time_scale = time_scale;
  options.requests = requests;
  if (!requests && !duration && trace.empty()) options.requests = 100;
  if (duration) options.duration = absl::ToChronoNanoseconds(*duration);
  options.seed = seed;
  SKIPSTONE_ASSIGN_OR_RETURN(options.prompt,
                             Named("prompt_tokens", LengthDistribution::Parse(prompt_tokens)));
  SKIPSTONE_ASSIGN_OR_RETURN(options.output,
                             Named("output_tokens", LengthDistribution::Parse(output_tokens)));
  return options;
}

class BenchCommand : public Command {
 public:
  std::string name() const override { return "bench"; }
  std::string summary() const override { return "puts load on a server and measures latencies"; }
  std::string usage() const override {
    return "[flags]\n\n"
           "  skipstone bench --concurrency 8 --requests 200 --skip 'full@50;attn-33@50'\n"
           "  skipstone bench --rate 20 --duration 60s --goodput ttft:500,itl:50\n"
           "  skipstone bench --trace arrivals.csv --time_scale 0.1\n\n"
           "Open loop (--rate, --trace): requests start when they are due however slow the\n"
           "answers, and TTFT and E2E count from when they were due (no coordinated omission).\n"
           "ITL is the time between messages that bring tokens, TPOT a request's mean time per\n"
           "token after the first; percentiles are at most 0.8 % too high. Requests that are\n"
           "refused or broken are not retried: they count as failed.\n";
  }
  void AddFlags(FlagSet& flags) override { flags_.AddTo(flags); }
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  BenchFlags flags_;
  WorkloadOptions workload_;
  std::vector<MixPart> mix_;
  std::vector<v1::Skip> skips_;  // by part of the mix
  std::optional<GoodputLimits> limits_;
};

absl::Status BenchCommand::Prepare(const std::vector<std::string>& arguments) {
  SKIPSTONE_RETURN_IF_ERROR(Command::Prepare(arguments));
  SKIPSTONE_RETURN_IF_ERROR(flags_.Validate());
  SKIPSTONE_ASSIGN_OR_RETURN(workload_, flags_.ToWorkloadOptions());
  if (flags_.skip.empty()) {  // the server's choice
    mix_ = {{.name = "default"}};
    skips_.resize(1);
  } else {
    SKIPSTONE_ASSIGN_OR_RETURN(mix_, Named("skip", ParseMix(flags_.skip)));
    for (const MixPart& part : mix_) skips_.push_back(SkipFromText(part.name));
  }
  if (!flags_.ceiling.empty()) {
    for (v1::Skip& skip : skips_) *skip.mutable_adaptive() = CeilingFromText(flags_.ceiling);
  }
  if (!flags_.goodput.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(limits_, Named("goodput", ParseGoodput(flags_.goodput)));
  }
  return absl::OkStatus();
}

absl::Status BenchCommand::Run(Io& io) {
  if (!flags_.trace.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(workload_.trace, ReadTraceFile(flags_.trace));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::GetModelResponse model, Client(channel).GetModel(options));
  workload_.context =
      std::clamp<uint32_t>(model.max_context_tokens(), 2, LengthDistribution::kMaxTokens);
  Workload workload(workload_, mix_);
  PromptTokens tokens{.vocab_size = model.vocab_size()};
  if (model.has_bos_token_id()) tokens.bos_token_id = model.bos_token_id();

  const auto stub = v1::Inference::NewStub(channel);
  ProgressLine progress(io.err, io.err_is_terminal);
  const uint64_t max_open = workload.open_loop() ? 0 : flags_.concurrency.value_or(1);
  const std::vector<LoadRecord> records =
      LoadRunner(*stub, options, tokens).Run(workload, skips_, max_open, progress);
  if (records.empty()) return absl::InvalidArgumentError("no request was due within --duration");
  BenchReport report = MakeReport(records, mix_, limits_);
  report.has_ceiling = !flags_.ceiling.empty();
  report.open_loop = workload.open_loop();
  report.shortened = workload.shortened();
  if (connection.json) {
    PrintJson(report.ToJson(), io.out);
  } else {
    report.Print(io.out);
  }
  if (report.all.ok > 0) return absl::OkStatus();
  return records.front().status.ok() ? absl::InternalError("no request brought a token")
                                     : records.front().status;
}

}  // namespace

std::unique_ptr<Command> MakeBenchCommand() { return std::make_unique<BenchCommand>(); }

}  // namespace skipstone::client
