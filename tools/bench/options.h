// The command line of skipstone-engine-bench.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/flag_set.h"

namespace skipstone {

struct BenchOptions {
  std::string model =
      "synthetic:layers=16,hidden=2048,heads=16,kv_heads=16,ffn=5504,vocab=8192,context=4096";
  std::string backend = "auto";
  int threads = 0;
  int batch = 1;
  int context = 128;
  int prompt = 512;
  int steps = 16;
  int rounds = 5;
  int chunk = 512;
  int page_tokens = 16;
  std::string tuning_cache;
  std::string skip = "none";
  bool json = false;
  bool stages = false;
  bool mixed = false;

  void AddTo(FlagSet& flags);
  // INVALID_ARGUMENT: values that do not go together.
  absl::Status Check() const;
};

}  // namespace skipstone
