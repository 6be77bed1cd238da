#include "tools/sim/options.h"

#include <chrono>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

constexpr int kMaxReplicas = 4096;   // each event looks at all of them; ids fit 16 bits
constexpr double kMaxSeconds = 1e9;  // of simulated arrivals: nanoseconds fit 64 bits

absl::Status Require(bool holds, const char* what) {
  return holds ? absl::OkStatus() : absl::InvalidArgumentError(what);
}

// A target in seconds.
FlagValue InMilliseconds(double* target) {
  return {.wanted = "a number",
          .read =
              [target](const std::string& text) {
                double ms = 0;
                if (!ValueOf(&ms).read(text)) return false;
                *target = 1e-3 * ms;
                return true;
              },
          .write = [target] { return absl::StrFormat("%g", 1e3 * *target); }};
}

// 16-bit weights.
ModelWork WorkOf(const ModelShape& s) {
  const double row_bytes = 2.0 * s.hidden;
  return {.query_bytes = 2 * row_bytes * s.q_size(),
          .kv_bytes = 2 * row_bytes * s.kv_size(),
          .mlp_bytes = 3 * row_bytes * s.ffn,
          .head_bytes = row_bytes * s.vocab};
}

}  // namespace

void SimOptions::AddTo(FlagSet& flags) {
  flags.Add("model", &model, "Hugging Face directory or synthetic:...");
  flags.Add("profile", &profile,
            "the machine (required): JSON of skipstone-engine-bench, or by hand");

  flags.Add("trace", &trace, "CSV of arrival, prompt tokens, output tokens; else generated");
  flags.Add("time_scale", InRange(&workload.time_scale, 0),
            "the trace's arrival times are multiplied by it; 0: all at once");
  flags.Add("requests", InRange(&requests, 0), "generated");
  flags.Add("rate", &rate, "generated requests/s, Poisson");
  flags.Add("prompt", &prompt, "generated tokens: N, A-B or lognormal:MEDIAN:SIGMA");
  flags.Add("output", &output, "generated tokens: N, A-B or lognormal:MEDIAN:SIGMA");
  flags.Add("skip", &skip, "mix of skip sets: 'none@50;attn:last=33%@50'");
  flags.Add("prefix_fraction", InRange(&workload.prefix_fraction, 0, 1),
            "of the prompts begin with a common prefix");
  flags.Add("prefixes", InRange(&workload.prefixes, 1), "common prefixes that there are");
  flags.Add("prefix_tokens", InRange(&workload.prefix_tokens, 0), "of each");
  flags.Add("seed", &workload.seed, "of all random choices");

  SchedulerOptions& scheduler = fleet.scheduler;
  flags.Add("replicas", InRange(&fleet.replicas, 1, kMaxReplicas), "servers");
  AutoscalerOptions& scaler = fleet.autoscaler;
  flags.Add("scale_to", InRange(&scaler.most, 0, kMaxReplicas),
            "servers at most, of which --replicas are there at the start and stay; 0: no more");
  flags.Add("scale_target", InRange(&scaler.target, 0.01, 1),
            "of the demand, which they are to stay near");
  flags.Add("scale_shed", &scaler.shed,
            "the demand counts what load takes away; false: saturation");
  flags.Add("start_s", InRange(&start_s, 0, 1e6), "from the decision until a new one serves");
  flags.Add("max_queue", InRange(&fleet.max_queue, 1), "waiting requests that count as full");
  flags.Add("routing", &routing, "round-robin, least-loaded or prefix-affine");
  flags.Add("max_in_flight", InRange(&fleet.max_in_flight, 1, 2),
            "steps a server plans ahead of the oldest result: 1, on CUDA 2");
  flags.Add("max_batch_tokens", InRange(&scheduler.max_batch_tokens, 1),
            "work of one step, in prompt rows without skipping");
  flags.Add("max_sequences", InRange(&scheduler.max_sequences, 1), "sequences that run at once");
  flags.Add("page_tokens", InRange(&scheduler.page_tokens, 1), "tokens of one K/V page");
  flags.Add("kv_pages", InRange(&scheduler.num_pages, 1), "K/V pages of a server (required)");
  flags.Add("prefix_cache", &scheduler.prefix_cache, "share pages of equal prefixes");
  flags.Add("itl_bound_ms", InRange(&itl_bound_ms, 0, 1e3 * kMaxSeconds),
            "what prefill may add to a step with decode rows; 0: no bound");
  flags.Add("ceiling", &ceiling, "skip set up to which requests may be moved under load");
  flags.Add("brownout_waiting", &scheduler.brownout_waiting,
            "waiting sequences above which requests start there");
  flags.Add("brownout_pages", ShareOf(&scheduler.brownout_pages),
            "share of the pages above which they do");

  flags.Add("ttft_ms", InMilliseconds(&goodput.ttft_s),
            "goodput: limit of the time to the first token");
  flags.Add("itl_ms", InMilliseconds(&goodput.itl_s),
            "goodput: limit of the longest gap between tokens");
  flags.Add("tpot_ms", InMilliseconds(&goodput.tpot_s),
            "goodput: limit of the mean gap between tokens");
  flags.Add("e2e_ms", InMilliseconds(&goodput.e2e_s), "goodput: limit of the whole request");
}

absl::Status SimOptions::Resolve(const ModelShape& shape) {
  SKIPSTONE_RETURN_IF_ERROR(
      Require(fleet.scheduler.num_pages >= 1, "--kv_pages must be at least 1"));
  SKIPSTONE_RETURN_IF_ERROR(
      Require(shape.max_context >= 2, "the model's context has no room for a prompt and a token"));
  SKIPSTONE_RETURN_IF_ERROR(
      Require(rate > 0 && static_cast<double>(requests) / rate <= kMaxSeconds,
              "--rate must be above 0, and --requests / --rate at most 1e9 s"));
  SKIPSTONE_RETURN_IF_ERROR(
      Require(fleet.autoscaler.most == 0 || fleet.autoscaler.most >= fleet.replicas,
              "--scale_to must be at least --replicas"));
  fleet.autoscaler.start =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(start_s));
  fleet.scheduler.work = WorkOf(shape);
  fleet.scheduler.itl_bound =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(itl_bound_ms));
  SKIPSTONE_ASSIGN_OR_RETURN(fleet.routing, ParseRouting(routing));
  if (!ceiling.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(fleet.ceiling, ParseSkipSet(ceiling, shape.num_layers));
  }
  workload.context = shape.max_context;
  SKIPSTONE_ASSIGN_OR_RETURN(workload.prompt, LengthDistribution::Parse(prompt));
  SKIPSTONE_ASSIGN_OR_RETURN(workload.output, LengthDistribution::Parse(output));
  workload.rate = rate;
  if (trace.empty()) {
    workload.requests = requests;
    return absl::OkStatus();
  }
  SKIPSTONE_ASSIGN_OR_RETURN(workload.trace, ReadTraceFile(trace));
  const double last = Seconds(workload.trace.back().arrival) * workload.time_scale;
  return Require(last <= kMaxSeconds,
                 "the trace's last arrival times --time_scale must be at most 1e9 s");
}

}  // namespace skipstone
