// A Backend that computes nothing and records what it is told. Test thread only.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/backend/backend.h"

namespace skipstone {

class RecordingBackend : public Backend {
 public:
  std::vector<std::vector<Tensor>> groups;  // AddWeights, by WeightId
  std::vector<std::string> stages;          // "attend 3", with the weight ids where there are any
  int groups_until_failure = -1;            // AddWeights fails after so many; -1: never
  std::string unserved;                     // a field of SamplingParams

  std::string name() const override { return "recording"; }
  bool asynchronous() const override { return false; }
  bool Serves(std::string_view field) const override { return field != unserved; }
  bool MakesRandomWeights() const override { return false; }
  absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) override {
    if (groups_until_failure-- == 0) return absl::ResourceExhaustedError("no memory for weights");
    groups.emplace_back(group.begin(), group.end());
    return WeightId{static_cast<int>(groups.size()) - 1};
  }
  int64_t PageBytes(int page_tokens) const override { return page_tokens; }
  double RowsPerRead() const override { return 1; }
  int64_t FreeBytes() const override { return 0; }
  absl::Status Allocate(const StepLimits&) override { return absl::OkStatus(); }
  BackendUsage Usage() const override { return {}; }
  DeviceProbe* probe() override { return nullptr; }

  void BeginStep(const StepInput&) override { stages.push_back("begin"); }
  void Embed(WeightId table) override {
    stages.push_back(absl::StrFormat("embed w%d", table.index));
  }
  void QkvStore(int layer, WeightId norm, WeightId qkv) override {
    stages.push_back(absl::StrFormat("qkv %d w%d w%d", layer, norm.index, qkv.index));
  }
  void Attend(int layer) override { stages.push_back(absl::StrFormat("attend %d", layer)); }
  void ProjectAdd(int layer, Sublayer sublayer, WeightId w) override {
    stages.push_back(
        absl::StrFormat("%s %d w%d", sublayer == Sublayer::kMlp ? "down" : "o", layer, w.index));
  }
  void GateUp(int layer, WeightId norm, WeightId gate_up) override {
    stages.push_back(absl::StrFormat("gate_up %d w%d w%d", layer, norm.index, gate_up.index));
  }
  void AddMaps(int layer, Sublayer sublayer, WeightId norm,
               std::span<const MapWeights> maps) override {
    stages.push_back(absl::StrFormat("%s_maps %d w%d %d",
                                     sublayer == Sublayer::kMlp ? "mlp" : "attention", layer,
                                     norm.index, maps.size()));
  }
  void ReadResidual(int, int, float*) override {}
  void WriteResidual(int, int, const float*) override {}
  void Logits(WeightId norm, WeightId head) override {
    stages.push_back(absl::StrFormat("logits w%d w%d", norm.index, head.index));
  }
  void EndStep() override { stages.push_back("end"); }
  absl::Status WaitStep(std::vector<LogitsResult>*) override { return absl::OkStatus(); }
  void Run(const std::function<void()>& forward) override { forward(); }
  void EndWarmUp() override {}
};

}  // namespace skipstone
