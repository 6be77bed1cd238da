// A backend that passes everything on and times the stages: by the host's clock where they compute
// within their calls, else by marks in the enqueued work. With marks every step is launched stage
// by stage, for a recorded one could not be marked.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/backend/backend.h"
#include "tools/bench/step_cost.h"

namespace skipstone {

using StageSeconds = std::array<double, kNumStages>;  // by Stage

// Step thread only.
class TimedBackend final : public Backend {
 public:
  explicit TimedBackend(std::unique_ptr<Backend> backend)
      : backend_(std::move(backend)), probe_(backend_->probe()) {}

  // Of the steps since the last call, for which it waits. What lies between stages counts for none.
  // A step takes 5 * layers + 3 marks at most. Errors: of DeviceProbe::TakeLaps.
  absl::StatusOr<StageSeconds> Take();

  std::string name() const override { return backend_->name(); }
  bool asynchronous() const override { return backend_->asynchronous(); }
  bool Serves(std::string_view field) const override { return backend_->Serves(field); }
  bool MakesRandomWeights() const override { return backend_->MakesRandomWeights(); }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override {
    return backend_->AddWeights(group);
  }
  int64_t PageBytes(int page_tokens) const override { return backend_->PageBytes(page_tokens); }
  double RowsPerRead() const override { return backend_->RowsPerRead(); }
  int64_t FreeBytes() const override { return backend_->FreeBytes(); }
  absl::Status Allocate(const StepLimits& limits) override { return backend_->Allocate(limits); }
  BackendUsage Usage() const override { return backend_->Usage(); }
  DeviceProbe* probe() override { return probe_; }
  void BeginStep(const StepInput& step) override { backend_->BeginStep(step); }
  void Embed(WeightId table) override {
    Timed(Stage::kEmbed, [&] { backend_->Embed(table); });
  }
  void QkvStore(int layer, WeightId norm, WeightId qkv) override {
    Timed(Stage::kQkv, [&] { backend_->QkvStore(layer, norm, qkv); });
  }
  void Attend(int layer) override {
    Timed(Stage::kAttend, [&] { backend_->Attend(layer); });
  }
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override {
    Timed(sublayer == Sublayer::kAttention ? Stage::kProject : Stage::kDown,
          [&] { backend_->ProjectAdd(layer, sublayer, w); });
  }
  void GateUp(int layer, WeightId norm, WeightId gate_up) override {
    Timed(Stage::kGateUp, [&] { backend_->GateUp(layer, norm, gate_up); });
  }
  void AddMaps(int layer, Sublayer sublayer, WeightId norm,
               std::span<const MapWeights> maps) override {
    backend_->AddMaps(layer, sublayer, norm, maps);
  }
  void ReadResidual(int first, int count, float* out) override {
    backend_->ReadResidual(first, count, out);
  }
  void WriteResidual(int first, int count, const float* in) override {
    backend_->WriteResidual(first, count, in);
  }
  void Logits(WeightId norm, WeightId head) override {
    Timed(Stage::kLogits, [&] { backend_->Logits(norm, head); });
  }
  void EndStep() override { backend_->EndStep(); }
  absl::Status WaitStep(std::vector<LogitsResult>* results) override {
    return backend_->WaitStep(results);
  }
  void Run(const std::function<void()>& forward) override {
    if (probe_ == nullptr) return backend_->Run(forward);
    Mark(std::nullopt);
    forward();
  }
  void EndWarmUp() override { backend_->EndWarmUp(); }

 private:
  template <class Call>
  void Timed(Stage stage, Call call) {
    const Time start = SystemClock().Now();
    call();
    if (probe_ != nullptr) return Mark(stage);
    seconds_[static_cast<int>(stage)] += Seconds(SystemClock().Now() - start);
  }
  void Mark(std::optional<Stage> ended) {
    probe_->Mark();
    marks_.push_back(ended);
  }

  std::unique_ptr<Backend> backend_;
  DeviceProbe* const probe_;  // null: the host's clock
  StageSeconds seconds_{};
  std::vector<std::optional<Stage>> marks_;  // the stage that each one ends, if any
};

}  // namespace skipstone
