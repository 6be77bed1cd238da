#include "tools/bench/options.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace skipstone {

void BenchOptions::AddTo(FlagSet& flags) {
  flags.Add("model", &model, "Hugging Face directory or synthetic:...");
  flags.Add("backend", &backend, "auto, cpu or cuda");
  flags.Add("threads", InRange(&threads, 0), "0: the CPUs this process may use");
  flags.Add("batch", InRange(&batch, 1), "sequences that decode together");
  flags.Add("context", InRange(&context, 1), "tokens before the first decode step");
  flags.Add("prompt", InRange(&prompt, 0), "tokens of the prefill; 0: no prefill");
  flags.Add("steps", InRange(&steps, 0), "decode steps per round; 0: no decode");
  flags.Add("rounds", InRange(&rounds, 1), "repetitions; the skip sets take turns");
  flags.Add("chunk", InRange(&chunk, 1), "rows of a prefill step at most");
  flags.Add("page_tokens", InRange(&page_tokens, 1), "tokens of a K/V page");
  flags.Add("tuning_cache", &tuning_cache, "CUDA: file of timed algorithms, kept from run to run");
  flags.Add("skip", &skip, "skip sets separated by ';'; ratios are to the first");
  flags.Add("json", &json, "print JSON");
  flags.Add("mixed", &mixed, "also decode a batch whose sequences take the sets in turn");
  flags.Add("stages", &stages,
            "time each stage; a device then launches them singly: slower than a replayed step");
}

absl::Status BenchOptions::Check() const {
  if (prompt == 0 && steps == 0) {
    return absl::InvalidArgumentError("--prompt=0 and --steps=0 leave nothing to measure");
  }
  if (!mixed) return absl::OkStatus();
  const auto sets = 1 + std::count(skip.begin(), skip.end(), ';');
  if (sets < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--mixed needs several skip sets, --skip is '%s'", skip));
  }
  if (steps == 0) return absl::InvalidArgumentError("--mixed decodes, --steps is 0");
  if (batch < sets) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--mixed needs a sequence for each of %d skip sets, --batch is %d", sets, batch));
  }
  return absl::OkStatus();
}

}  // namespace skipstone
