// What the RPC handlers need once a model is loaded.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model/config.h"
#include "engine/model/tokenizer.h"
#include "server/experiments.h"
#include "server/levels.h"
#include "server/metrics.h"
#include "server/stall_watch.h"

namespace skipstone::server {

struct ModelInfo {
  std::string name;
  std::string backend;
  std::string weight_type;
  uint64_t fingerprint = 0;
  ModelConfig config;
};

// Made once, before the first request is served. All members are thread-safe.
struct Serving {
  ModelInfo model;
  EngineOptions limits;
  std::shared_ptr<const Tokenizer> tokenizer;
  Levels levels;
  Experiments experiments;
  std::string tenant_key;  // metadata that names a request's tenant; empty: all are one
  PolicyConfig policy;
  bool anybody_may_abort = false;  // else only the connection that a call came by
  Metrics& metrics;
  StallWatch& stall_watch;
  std::atomic<bool> draining{false};
  std::unique_ptr<Engine> engine;  // last: it ends first
};

}  // namespace skipstone::server
