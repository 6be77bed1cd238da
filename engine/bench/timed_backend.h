// A backend that passes everything on and times the stages. Right for a backend that computes
// within the call (the CPU); on a device it sees the time of enqueueing.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/clock.h"
#include "engine/bench/step_cost.h"

namespace skipstone {

class TimedBackend final : public Backend {
 public:
  explicit TimedBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  // Seconds by Stage since the last call.
  std::array<double, kNumStages> Take() { return std::exchange(seconds_, {}); }

  std::string name() const override { return backend_->name(); }
  bool asynchronous() const override { return backend_->asynchronous(); }
  bool MakesRandomWeights() const override { return backend_->MakesRandomWeights(); }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override {
    return backend_->AddWeights(group);
  }
  int64_t PageBytes(int page_tokens) const override { return backend_->PageBytes(page_tokens); }
  double RowsPerRead() const override { return backend_->RowsPerRead(); }
  int64_t FreeBytes() const override { return backend_->FreeBytes(); }
  absl::Status Allocate(const StepLimits& limits) override { return backend_->Allocate(limits); }
  BackendUsage Usage() const override { return backend_->Usage(); }
  DeviceProbe* probe() override { return backend_->probe(); }
  void BeginStep(const StepInput& step) override { backend_->BeginStep(step); }
  void Embed(WeightId table) override {
    Clocked(Stage::kEmbed, [&] { backend_->Embed(table); });
  }
  void QkvStore(int layer, WeightId norm, WeightId qkv) override {
    Clocked(Stage::kQkv, [&] { backend_->QkvStore(layer, norm, qkv); });
  }
  void Attend(int layer) override {
    Clocked(Stage::kAttend, [&] { backend_->Attend(layer); });
  }
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override {
    Clocked(sublayer == Sublayer::kAttention ? Stage::kProject : Stage::kDown,
            [&] { backend_->ProjectAdd(layer, sublayer, w); });
  }
  void GateUp(int layer, WeightId norm, WeightId gate_up) override {
    Clocked(Stage::kGateUp, [&] { backend_->GateUp(layer, norm, gate_up); });
  }
  void Logits(WeightId norm, WeightId head) override {
    Clocked(Stage::kLogits, [&] { backend_->Logits(norm, head); });
  }
  void EndStep() override { backend_->EndStep(); }
  absl::Status WaitStep(std::vector<LogitsResult>* results) override {
    return backend_->WaitStep(results);
  }
  void Run(const std::function<void()>& forward) override { backend_->Run(forward); }
  void EndWarmUp() override { backend_->EndWarmUp(); }

 private:
  template <class Call>
  void Clocked(Stage stage, Call call) {
    const auto start = SystemClock().Now();
    call();
    seconds_[static_cast<int>(stage)] += Seconds(SystemClock().Now() - start);
  }

  std::unique_ptr<Backend> backend_;
  std::array<double, kNumStages> seconds_{};
};

}  // namespace skipstone
