// `skipstone bench`: load on a server, and what the requests experienced.
#include <cmath>
#include <fstream>
#include <memory>

#include "absl/strings/str_format.h"
#include "client/channel.h"
#include "client/cli/bench_report.h"
#include "client/cli/command.h"
#include "client/cli/connection_flags.h"
#include "client/cli/load_runner.h"
#include "client/cli/proto_json.h"
#include "client/cli/skip_flag.h"
#include "client/cli/workload.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

struct BenchFlags {
  ConnectionFlags connection;
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
  connection.AddTo(flags);
  flags.Add("rate", &rate, "open loop: Poisson arrivals, requests per second");
  flags.Add("concurrency", &concurrency, "closed loop: so many requests always open (default 1)");
  flags.Add("trace", &trace, "open loop: CSV file of ARRIVAL,PROMPT_TOKENS,OUTPUT_TOKENS");
  flags.Add("time_scale", &time_scale, "arrival times of the trace are multiplied by it");
  flags.Add("prompt_tokens", &prompt_tokens, "N or A-B, random ids");
  flags.Add("output_tokens", &output_tokens, "N or A-B");
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
  options.max_requests = requests;
  if (!requests && !duration && trace.empty()) options.max_requests = 100;
  if (duration) options.max_seconds = absl::ToDoubleSeconds(*duration);
  options.seed = seed;
  const auto prompt = ParseTokenRange("prompt_tokens", prompt_tokens);
  if (!prompt.ok()) return prompt.status();
  options.prompt_tokens = *prompt;
  const auto output = ParseTokenRange("output_tokens", output_tokens);
  if (!output.ok()) return output.status();
  options.output_tokens = *output;
  return options;
}

absl::StatusOr<std::vector<TraceRow>> ReadTrace(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrFormat("--trace: cannot read \"%s\"", path));
  auto rows = ParseTrace(file);
  if (rows.ok()) return rows;
  return absl::InvalidArgumentError(
      absl::StrFormat("--trace %s: %s", path, std::string(rows.status().message())));
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
           "token after the first. Requests that are refused or broken are not retried: they\n"
           "count as failed.\n";
  }
  void AddFlags(FlagSet& flags) override { flags_.AddTo(flags); }
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  BenchFlags flags_;
  WorkloadOptions workload_;
  std::vector<MixPart> mix_;
  std::optional<GoodputLimits> limits_;
  CallOptions options_;
};

absl::Status BenchCommand::Prepare(const std::vector<std::string>& arguments) {
  if (!arguments.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("unexpected \"%s\"", arguments[0]));
  }
  if (absl::Status status = flags_.Validate(); !status.ok()) return status;
  const auto workload = flags_.ToWorkloadOptions();
  if (!workload.ok()) return workload.status();
  workload_ = *workload;
  auto mix = ParseMix(flags_.skip);
  if (!mix.ok()) return mix.status();
  mix_ = *std::move(mix);
  if (!flags_.ceiling.empty()) {
    for (MixPart& part : mix_) *part.skip.mutable_adaptive() = CeilingFromText(flags_.ceiling);
  }
  if (!flags_.goodput.empty()) {
    const auto limits = ParseGoodput(flags_.goodput);
    if (!limits.ok()) return limits.status();
    limits_ = *limits;
  }
  return flags_.connection.ReadInto(options_);
}

absl::Status BenchCommand::Run(Io& io) {
  if (!flags_.trace.empty()) {
    auto trace = ReadTrace(flags_.trace);
    if (!trace.ok()) return trace.status();
    workload_.trace = *std::move(trace);
  }
  const auto channel = MakeChannel(flags_.connection.server);
  const auto model = Client(channel).GetModel(options_);
  if (!model.ok()) return model.status();
  workload_.max_context_tokens = model->max_context_tokens();
  Workload workload(workload_, mix_);
  PromptTokens tokens{.vocab_size = model->vocab_size()};
  if (model->has_bos_token_id()) tokens.bos_token_id = model->bos_token_id();

  const auto stub = v1::Inference::NewStub(channel);
  ProgressLine progress(io.err, io.err_is_terminal);
  const std::vector<RequestRecord> records =
      LoadRunner(*stub, options_, tokens)
          .Run(workload, workload.open_loop() ? 0 : flags_.concurrency.value_or(1), progress);
  if (records.empty()) return absl::InvalidArgumentError("no request was due within --duration");
  BenchReport report = MakeReport(records, mix_, limits_);
  report.has_ceiling = !flags_.ceiling.empty();
  report.open_loop = workload.open_loop();
  report.shortened = workload.shortened();
  if (flags_.connection.json) {
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
