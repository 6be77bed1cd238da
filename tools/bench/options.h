// The command line of skipstone-engine-bench.
#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace skipstone {

struct BenchOptions {
  std::string model =
      "synthetic:layers=16,hidden=2048,heads=16,kv_heads=16,ffn=5504,vocab=8192,context=4096";
  std::string backend = "auto";
  int threads = 0;    // 0: the CPUs this process may use
  int batch = 1;      // sequences that decode together
  int context = 128;  // tokens a sequence holds before the first measured decode step
  int prompt = 512;   // tokens of the measured prefill; 0: none
  int steps = 16;     // decode steps per round; 0: none
  int rounds = 5;     // repetitions, in which the skip sets take turns
  int chunk = 512;    // rows of a prefill step at most
  int page_tokens = 16;
  std::string tuning_cache;   // CUDA: file of timed algorithms
  std::string skip = "none";  // skip sets separated by ';'
  bool json = false;
  bool stages = false;  // time each stage of the forward pass
  bool mixed = false;   // one more arm, whose sequences take the skip sets in turn
  bool help = false;
};

// `args` without the program's name, as --name=value or --name value; booleans may lack the value.
// INVALID_ARGUMENT names the option, the value and what is allowed.
absl::StatusOr<BenchOptions> ParseBenchOptions(std::span<const char* const> args);

std::string BenchUsage();

}  // namespace skipstone
