// What the RPC handlers need once a model is loaded.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model/config.h"
#include "engine/model/tokenizer.h"
#include "server/answer_bound.h"
#include "server/exposure_log.h"
#include "server/live_config.h"
#include "server/metrics.h"
#include "server/server_config.h"
#include "server/stall_watch.h"
#include "server/validation_pool.h"
#include "server/vllm/tokenizer_archive.h"
#include "server/write_batches.h"

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
  ServerConfig config;  // of the start, with the model's numbers in `engine`
  std::shared_ptr<const Tokenizer> tokenizer;
  // What gateways get of it; not OK: why they get nothing.
  absl::StatusOr<TokenizerArchive> tokenizer_archive =
      absl::FailedPreconditionError("this model has no files of a tokenizer");
  AnswerBound answer_bound{LongestTokenText(*tokenizer)};
  std::optional<LevelsFile> levels_file;  // whose maps are loaded
  LiveConfigs live;
  Metrics& metrics;
  StallWatch& stall_watch;
  WriteBatches& write_batches;
  ExposureLog* exposure_log = nullptr;  // null: none is kept
  const Time started = SystemClock().Now();
  std::atomic<bool> leaving{false};     // the drain is announced, for those who ask
  std::atomic<bool> draining{false};    // requests are refused
  EnginePtr engine;
  // Last: it ends first, since its threads use the rest.
  std::unique_ptr<ValidationPool> validation;
};

}  // namespace skipstone::server
