// Sends a workload to a server and records what each request experienced.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/workload/workload.h"
#include "client/call_options.h"
#include "client/cli/load_stream.h"
#include "client/cli/progress_line.h"

namespace skipstone::client {

// Facts about the server's model that prompts depend on.
struct PromptTokens {
  uint32_t vocab_size = 0;
  std::optional<uint32_t> bos_token_id;  // begins each prompt
};

// The request for what was planned: random ids, greedy, exactly output_tokens long.
v1::GenerateRequest MakeLoadRequest(const PlannedRequest& planned, const v1::Skip& skip,
                                    const PromptTokens& tokens);

// Open loop: each request starts when it is due, however many are open. Closed loop: a new one
// starts when one of `max_open` has ended.
class LoadRunner {
 public:
  LoadRunner(v1::Inference::Stub& stub, CallOptions options, PromptTokens tokens)
      : stub_(stub), options_(std::move(options)), tokens_(tokens) {}

  // Blocks until every request has ended. `skips`: by part of the mix. `max_open` 0: no limit.
  // Once.
  std::vector<LoadRecord> Run(Workload& workload, std::span<const v1::Skip> skips,
                              uint64_t max_open, ProgressLine& progress);

 private:
  void Start(const PlannedRequest& planned, const v1::Skip& skip, Time due);
  void OnDone(LoadRecord record);

  v1::Inference::Stub& stub_;
  const CallOptions options_;
  const PromptTokens tokens_;

  std::mutex mutex_;
  std::condition_variable ended_;
  Progress counts_;                  // under mutex_
  std::vector<LoadRecord> records_;  // under mutex_
};

}  // namespace skipstone::client
