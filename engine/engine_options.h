// What an engine is started with, and what requests are checked against.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/scheduler_options.h"

namespace skipstone {

struct RequestLimits {
  int num_layers = 0;
  int vocab = 0;
  int max_context = 0;                 // tokens, prompt and output
  int max_queue = 1024;                // sequences waiting
  int64_t max_queue_tokens = 1 << 20;  // prompt tokens waiting
  int max_tenant_running = 0;          // sequences of a tenant, running or waiting; 0: no limit
  int max_tenant_queued = 0;           // sequences of a tenant, waiting; 0: no limit
  std::vector<std::string> unserved;   // fields that the backend does not heed
};

struct EngineOptions {
  SchedulerOptions scheduler;
  RequestLimits limits;
  // Brown-out: while the waiting sequences exceed this share of max_queue, or the pages in use
  // scheduler.brownout_pages, a request that allows it starts at its ceiling. Above 1: never.
  double brownout_queue = 0.5;
  // The time of a decode step from which on the server counts as full; 0: any time is good.
  Duration itl_target{};
  std::vector<int32_t> eos_ids;
  // A step, or a call of a sink, that takes longer means that the device or the server hangs:
  // health() says so.
  Duration stall_timeout = std::chrono::minutes(5);
  int output_threads = 1;
  // How long the engine's end waits for a thread that may hang, before it goes on without it.
  Duration end_timeout = std::chrono::seconds(5);
};

}  // namespace skipstone
