#include "engine/cuda/step_graphs.h"

#include <algorithm>

#include "engine/base/hash.h"

namespace skipstone::cuda {

uint64_t GraphKey(uint64_t key, const StepInput& step, int rows) {
  uint64_t hash = Mix64(Mix64(key) ^ static_cast<uint64_t>(rows));
  hash = Mix64(hash ^ (step.logits.empty() ? 1 : 0));
  for (const LayerRows& layer : step.layers) {
    hash =
        Mix64(hash ^ ((layer.attention_rows.empty() ? 2 : 0) + (layer.mlp_rows.empty() ? 1 : 0)));
  }
  return hash;
}

StepGraphs::~StepGraphs() {
  for (const auto& [key, graph] : graphs_) {
    if (graph != nullptr) cudaGraphExecDestroy(graph);
  }
}

int StepGraphs::size() const {
  return static_cast<int>(
      std::count_if(graphs_.begin(), graphs_.end(), [](const auto& g) { return g.second; }));
}

void StepGraphs::Run(uint64_t key, const std::function<void()>& forward, cudaStream_t stream,
                     DeviceError& error) {
  const auto found = graphs_.find(key);
  if (found == graphs_.end()) {
    if (graphs_.size() < kMaxGraphs) graphs_[key] = nullptr;
    return forward();
  }
  if (found->second == nullptr) found->second = Record(forward, stream, error);
  if (found->second != nullptr) {
    error.Note(cudaGraphLaunch(found->second, stream), "launch of a recorded step");
  }
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
  return ready;
}

}  // namespace skipstone::cuda
