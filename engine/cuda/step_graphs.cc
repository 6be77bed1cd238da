#include "engine/cuda/step_graphs.h"

#include "engine/base/hash.h"

namespace skipstone::cuda {

StepKind StepKind::Of(const StepInput& step, int rows) {
  StepKind kind{.rows = rows};
  bool all = true;
  for (const LayerRows& layer : step.layers) {
    const int empty = (layer.attention_rows.empty() ? 2 : 0) + (layer.mlp_rows.empty() ? 1 : 0);
    kind.sublayers = Mix64(kind.sublayers ^ static_cast<uint64_t>(empty));
    all = all && empty == 0;
  }
  if (all) kind.sublayers = 0;
  return kind;
}

StepGraphs::~StepGraphs() {
  for (const auto& [kind, graph] : graphs_) cudaGraphExecDestroy(graph);
}

void StepGraphs::Run(const StepKind& kind, const std::function<void()>& forward,
                     cudaStream_t stream, DeviceError& error) {
  auto found = graphs_.find(kind);
  if (found == graphs_.end() && !sealed_ && size() < kMaxGraphs) {
    // The step itself runs first, as kernels are loaded when they are first launched.
    forward();
    if (const cudaGraphExec_t graph = Record(forward, stream, error)) graphs_[kind] = graph;
    return;
  }
  if (found == graphs_.end()) found = graphs_.find({.rows = kind.rows});
  if (found == graphs_.end()) return forward();
  error.Note(cudaGraphLaunch(found->second, stream), "launch of a recorded step");
}

cudaGraphExec_t StepGraphs::Record(const std::function<void()>& forward, cudaStream_t stream,
                                   DeviceError& error) {
  error.Note(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a step");
  forward();
  cudaGraph_t graph = nullptr;
  error.Note(cudaStreamEndCapture(stream, &graph), "recording a step");
  if (graph == nullptr) return nullptr;
  cudaGraphExec_t ready = nullptr;
  error.Note(cudaGraphInstantiate(&ready, graph, 0), "recording a step");
  error.Note(cudaGraphDestroy(graph), "recording a step");
  if (ready != nullptr) error.Note(cudaGraphUpload(ready, stream), "recording a step");
  return ready;
}

}  // namespace skipstone::cuda
