// `skipstone bench`: load on a server, and what the requests experienced.
#include <fstream>
#include <memory>

#include "absl/strings/str_format.h"
#include "client/channel.h"
#include "client/cli/bench_report.h"
#include "client/cli/command.h"
#include "client/cli/connection_flags.h"
#include "client/cli/load_runner.h"
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
  std::string goodput;
  uint64_t seed = 1;

  void AddTo(FlagSet& flags);
  absl::Status Validate() const;
  absl::StatusOr<Workload> ToWorkload(uint32_t max_context_tokens) const;
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
  flags.Add("goodput", &goodput,
            "limits in ms, such as 'ttft:500,itl:50'; also tpot, e2e. itl: of the longest gap");
  flags.Add("seed", &seed, "of arrivals, lengths, mix and prompts");
}

absl::Status BenchFlags::Validate() const {
  if (rate.has_value() + concurrency.has_value() + !trace.empty() > 1) {
    return absl::InvalidArgumentError("give one of --rate, --concurrency and --trace");
  }
  if (rate && !(*rate > 0)) return absl::InvalidArgumentError("--rate must be above 0");
  if (concurrency && *concurrency == 0) {
    return absl::InvalidArgumentError("--concurrency must be at least 1");
  }
  if (!(time_scale >= 0)) return absl::InvalidArgumentError("--time_scale must not be negative");
  return absl::OkStatus();
}

absl::StatusOr<Workload> BenchFlags::ToWorkload(uint32_t max_context_tokens) const {
  WorkloadOptions options;
  options.rate = rate;
  options.time_scale = time_scale;
  options.max_requests = requests;
  if (!requests && !duration && trace.empty()) options.max_requests = 100;
  if (duration) options.max_seconds = absl::ToDoubleSeconds(*duration);
  options.max_context_tokens = max_context_tokens;
  options.seed = seed;
  const auto prompt = ParseTokenRange("prompt_tokens", prompt_tokens);
  if (!prompt.ok()) return prompt.status();
  options.prompt_tokens = *prompt;
  const auto output = ParseTokenRange("output_tokens", output_tokens);
  if (!output.ok()) return output.status();
  options.output_tokens = *output;
  if (!trace.empty()) {
    std::ifstream file(trace);
    if (!file) return absl::NotFoundError(absl::StrFormat("--trace: cannot read \"%s\"", trace));
    auto rows = ParseTrace(file);
    if (!rows.ok()) return rows.status();
    options.trace = *std::move(rows);
  }
  auto mix = ParseMix(skip);
  if (!mix.ok()) return mix.status();
  return Workload(std::move(options), *std::move(mix));
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
           "token after the first. Refused requests are not retried.\n";
  }
  void AddFlags(FlagSet& flags) override { flags_.AddTo(flags); }
  absl::Status Run(const std::vector<std::string>& arguments, Io& io) override;

 private:
  BenchFlags flags_;
};

absl::Status BenchCommand::Run(const std::vector<std::string>& arguments, Io& io) {
  if (!arguments.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat("unexpected \"%s\"", arguments[0]));
  }
  if (absl::Status status = flags_.Validate(); !status.ok()) return status;
  std::optional<GoodputLimits> limits;
  if (!flags_.goodput.empty()) {
    const auto parsed = ParseGoodput(flags_.goodput);
    if (!parsed.ok()) return parsed.status();
    limits = *parsed;
  }
  const auto options = flags_.connection.ToCallOptions();
  if (!options.ok()) return options.status();

  const auto channel = MakeChannel(flags_.connection.server);
  const auto model = Client(channel).GetModel(*options);
  if (!model.ok()) return model.status();
  auto workload = flags_.ToWorkload(model->max_context_tokens());
  if (!workload.ok()) return workload.status();
  PromptTokens tokens{.vocab_size = model->vocab_size()};
  if (model->has_bos_token_id()) tokens.bos_token_id = model->bos_token_id();

  const auto stub = v1::Inference::NewStub(channel);
  ProgressLine progress(io.err, io.err_is_terminal);
  const std::vector<RequestRecord> records =
      LoadRunner(*stub, *options, tokens)
          .Run(*workload, workload->open_loop() ? 0 : flags_.concurrency.value_or(1), progress);
  if (records.empty()) return absl::InvalidArgumentError("no request was due within --duration");
  BenchReport report = MakeReport(records, workload->mix(), limits);
  report.open_loop = workload->open_loop();
  report.shortened = workload->shortened();
  if (flags_.connection.json) {
    io.out << report.ToJson().dump(2) << '\n';
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
