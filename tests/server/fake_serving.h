// What the handlers need of a server, for tests of one part of them: levels and experiments of a
// YAML text, a model of 4 layers, no ports. The engine is there only if the test puts one in.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "server/server_config.h"
#include "server/serving.h"

namespace skipstone::server {

class FakeServing {
 public:
  explicit FakeServing(const std::string& yaml, const LevelsFile* file = nullptr) {
    constexpr int kLayers = 4;
    constexpr int kContext = 64;
    ServerConfig config;
    const absl::Status status = ReadConfigText(yaml, "test.yaml", config);
    EXPECT_TRUE(status.ok()) << status;
    auto live = LiveConfig::Make(
        config, {.num_layers = kLayers, .max_context = kContext, .levels_file = file},
        metrics_.server(), /*previous=*/nullptr);
    EXPECT_TRUE(live.ok()) << live.status();
    ModelInfo model;
    model.config.shape = {.num_layers = kLayers, .vocab = 100, .max_context = kContext};
    serving_.reset(new Serving{.model = std::move(model),
                               .config = config,
                               .tokenizer = MakeSyntheticTokenizer(100),
                               .live = LiveConfigs(*std::move(live)),
                               .metrics = metrics_,
                               .stall_watch = stall_watch_,
                               .write_batches = write_batches_});
  }

  Serving& operator*() { return *serving_; }

 private:
  Metrics metrics_{"fake", {}};
  StallWatch stall_watch_{std::chrono::minutes(1)};
  WriteBatches write_batches_{[](const std::string&) { return -1; }};
  std::unique_ptr<Serving> serving_;
};

}  // namespace skipstone::server
