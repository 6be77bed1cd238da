#include "engine/cuda/step/step_graphs.h"

#include "base/hash.h"

namespace skipstone::cuda {

StepKind StepKind::Of(const StepInput& step, int rows) {
  StepKind kind{.rows = rows};
  bool all = true;
  for (const LayerRows& layer : step.layers) {
    const int empty = (layer.kv_rows.empty() ? 2 : 0) + (layer.mlp_rows.empty() ? 1 : 0);
    const int maps = (layer.attention_maps.empty() ? 0 : 2) + (layer.mlp_maps.empty() ? 0 : 1);
    kind.sublayers = Mix64(kind.sublayers ^ static_cast<uint64_t>(4 * maps + empty));
    kind.maps = kind.maps || maps != 0;
    all = all && empty == 0 && maps == 0;
  }
  return all ? All(rows) : kind;
}

StepGraphs::~StepGraphs() {
  for (const auto& [kind, graph] : graphs_) cudaGraphExecDestroy(graph);
}

bool StepGraphs::Launch(const StepKind& kind, cudaStream_t stream, DeviceError& error) const {
  const auto found = graphs_.find(kind);
  if (found == graphs_.end()) return false;
  error.Note(cudaGraphLaunch(found->second, stream), "launch of a recorded step");
  return true;
}

void StepGraphs::Record(const StepKind& kind, const std::function<void()>& forward,
                        cudaStream_t stream, DeviceError& error) {
  if (size() >= kMaxGraphs) return;
  const char* const what = "recording a step";
  error.Note(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), what);
  forward();
  cudaGraph_t graph = nullptr;
  error.Note(cudaStreamEndCapture(stream, &graph), what);
  if (graph == nullptr) return;
  cudaGraphExec_t ready = nullptr;
  error.Note(cudaGraphInstantiate(&ready, graph, 0), what);
  error.Note(cudaGraphDestroy(graph), what);
  if (ready == nullptr) return;
  error.Note(cudaGraphUpload(ready, stream), what);
  graphs_[kind] = ready;
}

}  // namespace skipstone::cuda
