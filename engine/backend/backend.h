// The device interface: Llama 2 in stages, each a whole sublayer part, so that fusion stays behind
// it. A backend knows tensors, rows and pages; it knows no request and no skip set.
//
//   backend->BeginStep(step);
//   backend->Embed(embedding);
//   for each layer: QkvStore, Attend, ProjectAdd, GateUp, ProjectAdd   (Llama::Forward)
//   backend->Logits(norm, head);
//   backend->EndStep();
//   ... backend->WaitStep(&results);
//
// A stage takes nothing that changes from step to step: rows, positions, page tables and sampling
// state lie in buffers that BeginStep filled, so a recorded graph of the stages can be replayed.
// One thread, the step thread, makes all calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/device_probe.h"
#include "engine/backend/tensor.h"
#include "engine/backend/weight_id.h"
#include "engine/step/sampling.h"
#include "engine/step/step_input.h"

namespace skipstone {

struct ModelShape {
  int num_layers = 0;
  int hidden = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int ffn = 0;
  int vocab = 0;
  int max_context = 0;  // positions
  float norm_epsilon = 1e-5f;
  float rope_theta = 10000.0f;

  int q_size() const { return heads * head_dim; }
  int kv_size() const { return kv_heads * head_dim; }
};

// Fixed at start-up; every buffer is sized from it.
struct StepLimits {
  int max_rows = 0;
  int max_logits_rows = 0;  // rows of one step that may need logits
  int max_slots = 0;
  int page_tokens = 16;
  int64_t num_pages = 0;
};

enum class Sublayer { kAttention, kMlp };

// What a backend holds. Bytes of the device's memory, of the host's where it is the device.
struct BackendUsage {
  int64_t weight_bytes = 0;
  int64_t page_bytes = 0;
  int64_t buffer_bytes = 0;
  int recorded_steps = 0;  // launch sequences that are replayed
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "cpu", "cuda"
  // False if the stages compute within their calls. Else they enqueue, and a step may be begun
  // before the one before it was waited for.
  virtual bool asynchronous() const = 0;

  // Whether it heeds the number of this name in SamplingParams.
  virtual bool Serves(std::string_view sampling_field) const = 0;

  // True if AddWeights takes random matrices without data.
  virtual bool MakesRandomWeights() const = 0;
  // Takes a group of matrices that share their input ([out_i, in] each). The CPU keeps the views,
  // whose memory must outlive the backend; a device copies. Of a group of several types the CPU
  // keeps f32 copies, which are exact. Errors: RESOURCE_EXHAUSTED, UNIMPLEMENTED for a type or
  // shape the backend does not serve.
  virtual absl::StatusOr<WeightId> AddWeights(std::span<const Tensor> group) = 0;

  // Bytes of one page: K and V of page_tokens tokens of one layer.
  virtual int64_t PageBytes(int page_tokens) const = 0;
  // About how many rows' multiply-adds take as long as reading the weights they meet: the ratio of
  // the device's arithmetic to its bandwidth. Divides a step's time among requests.
  virtual double RowsPerRead() const = 0;
  // Bytes that are free for pages, after the weights were added.
  virtual int64_t FreeBytes() const = 0;
  // Allocates pages and step buffers. Once, after the weights and before the first step.
  virtual absl::Status Allocate(const StepLimits& limits) = 0;
  virtual BackendUsage Usage() const = 0;
  // Null where the stages compute within their calls. Lives as long as the backend.
  virtual DeviceProbe* probe() = 0;

  // ---- one step, in this order ----
  virtual void BeginStep(const StepInput& step) = 0;
  // residual[r] = table[tokens[r]]. table [vocab, hidden].
  virtual void Embed(WeightId table) = 0;
  // x = RmsNorm(residual) * norm; for query_rows q = RoPE(Wq x), for kv_rows RoPE(Wk x) and Wv x go
  // to the row's page of this layer. qkv is the group {Wq, Wk, Wv}.
  virtual void QkvStore(int layer, WeightId norm, WeightId qkv) = 0;
  // For query_rows: softmax(q K^T / sqrt(head_dim)) V over the positions of the row's slot that its
  // window shows (StepInput::windows). Pages of others are not touched: there may be none.
  virtual void Attend(int layer) = 0;
  // residual += W y, with y the attention's output for query_rows, or GateUp's for mlp_rows.
  virtual void ProjectAdd(int layer, Sublayer sublayer, WeightId w) = 0;
  // For mlp_rows: x = RmsNorm(residual) * norm; y = silu(Wgate x) * (Wup x).
  virtual void GateUp(int layer, WeightId norm, WeightId gate_up) = 0;
  // For the rows of the layer's attention_maps[i] or mlp_maps[i]: x = RmsNorm(residual) * norm;
  // residual += up (down x) + scale * x + bias of maps[i]. After the sublayer's other stages.
  virtual void AddMaps(int layer, Sublayer sublayer, WeightId norm,
                       std::span<const MapWeights> maps) = 0;
  // For the rows that need logits: head RmsNorm(residual), reduced at once to samples and
  // log-probabilities. The sampling state of the slots moves on.
  virtual void Logits(WeightId norm, WeightId head) = 0;
  // The residual of rows [first, first + count), [count][hidden], between two stages: calibration
  // looks at states and starts from them. An asynchronous backend waits; not within Run.
  virtual void ReadResidual(int first, int count, float* out) = 0;
  virtual void WriteResidual(int first, int count, const float* in) = 0;
  // Ends the enqueueing of a step.
  virtual void EndStep() = 0;

  // Waits for the oldest step that was ended and not waited for. results[i] belongs to logits row
  // i. The first device error surfaces here; the backend is unusable after it.
  virtual absl::Status WaitStep(std::vector<LogitsResult>* results) = 0;

  // Calls `forward`, perhaps once more to record it, or replays what an earlier call recorded of a
  // step like this one.
  virtual void Run(const std::function<void()>& forward) = 0;
  // From now on other requests wait while a step runs: nothing is recorded or tuned any more.
  virtual void EndWarmUp() = 0;
};

}  // namespace skipstone
