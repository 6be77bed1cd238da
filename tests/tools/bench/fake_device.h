// A Backend that computes nothing, says that it is asynchronous and times its marks: the first lap
// after TakeLaps takes 1 s, each further one twice as long, so that a sum tells which laps it is
// of. Test thread only.
#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "engine/make_backend.h"
#include "gtest/gtest.h"
#include "tests/support/recording_backend.h"

namespace skipstone {

class FakeDevice : public RecordingBackend, public DeviceProbe {
 public:
  bool has_probe = true;
  absl::StatusOr<Ceilings> ceilings = Ceilings{1e12, 1e14};
  absl::Status laps_status;
  int missing_laps = 0;
  int laps_taken = 0;
  int replayable_runs = 0;  // calls of Run: those that may be recorded

  std::string name() const override { return "fake"; }
  bool asynchronous() const override { return true; }
  int64_t PageBytes(int page_tokens) const override { return int64_t{page_tokens} * 2 * 8 * 2; }
  DeviceProbe* probe() override { return has_probe ? this : nullptr; }

  void BeginStep(const StepInput& step) override {
    RecordingBackend::BeginStep(step);
    in_flight_.push_back(step.logits.size());
  }
  absl::Status WaitStep(std::vector<LogitsResult>* results) override {
    results->assign(in_flight_.front(), {});
    in_flight_.pop_front();
    return absl::OkStatus();
  }
  void Run(const std::function<void()>& forward) override {
    ++replayable_runs;
    RecordingBackend::Run(forward);
  }

  absl::StatusOr<Ceilings> MeasureCeilings() override {
    EXPECT_TRUE(in_flight_.empty());
    return ceilings;
  }
  void Mark() override {
    stages.push_back("mark");
    ++marks_;
  }
  absl::StatusOr<std::vector<double>> TakeLaps() override {
    ++laps_taken;
    if (!laps_status.ok()) return laps_status;
    std::vector<double> laps;
    double seconds = 1;
    for (int i = std::exchange(marks_, 0); i > 1 + missing_laps; --i, seconds *= 2) {
      laps.push_back(seconds);
    }
    return laps;
  }

 private:
  std::deque<size_t> in_flight_;  // logits rows
  int marks_ = 0;
};

// A model of two layers on the device, whose K/V have 8 elements and weights 2 bytes.
inline LoadedModel ModelOn(std::unique_ptr<FakeDevice> device) {
  LoadedModel model;
  model.config.shape = {.num_layers = 2,
                        .hidden = 16,
                        .heads = 2,
                        .kv_heads = 1,
                        .head_dim = 8,
                        .ffn = 32,
                        .vocab = 50,
                        .max_context = 64};
  model.backend = std::move(device);
  model.weights.layers.resize(2);
  return model;
}

}  // namespace skipstone
