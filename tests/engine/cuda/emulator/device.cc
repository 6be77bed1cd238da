// Memory, streams, events and graphs of the emulated device, and its matrix library (emulator.h).
#include <sys/mman.h>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "cublasLt.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"
#include "emulator.h"
#include "engine/base/check.h"

namespace {

using Work = std::function<void()>;
using HostTime = std::chrono::steady_clock::time_point;

constexpr size_t kPage = 4096;
constexpr int kMultiprocessors = 4;
constexpr int kL2Bytes = 32 << 10;  // whatever is to exceed it stays small
constexpr int kComputeMajor = 9;

struct Device {
  int count = 1;
  int64_t free_bytes = int64_t{8} << 30;
  cudaError_t next_wait = cudaSuccess;
  std::map<void*, std::pair<void*, size_t>> memory;  // what was given → its mapping
  std::set<cudaStream_t> streams;
};

Device& TheDevice() {
  static Device device;
  return device;
}

cudaStream_t DefaultStream() {
  static cudaStream_t stream = [] {
    cudaStream_t made = nullptr;
    cudaStreamCreateWithFlags(&made, 0);
    return made;
  }();
  return stream;
}

cudaError_t WaitResult() { return std::exchange(TheDevice().next_wait, cudaSuccess); }

// Ends where a page that may not be touched begins.
cudaError_t Allocate(void** memory, size_t bytes) {
  const size_t mapped = (bytes + kPage - 1) / kPage * kPage + kPage;
  void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return cudaErrorMemoryAllocation;
  char* end = static_cast<char*>(mapping) + mapped - kPage;
  SKIPSTONE_CHECK(mprotect(end, kPage, PROT_NONE) == 0);
  *memory = end - (bytes + 15) / 16 * 16;
  TheDevice().memory[*memory] = {mapping, mapped};
  return cudaSuccess;
}

cudaError_t Free(void* memory) {
  cudaDeviceSynchronize();
  const auto found = TheDevice().memory.find(memory);
  SKIPSTONE_CHECK(found != TheDevice().memory.end());
  munmap(found->second.first, found->second.second);
  TheDevice().memory.erase(found);
  return cudaSuccess;
}

}  // namespace

struct CUgraph_st {
  std::vector<Work> works;
};
struct CUgraphExec_st {
  std::vector<Work> works;
};

struct CUstream_st {
  std::deque<Work> queue;
  uint64_t enqueued = 0;
  uint64_t done = 0;
  CUgraph_st* capture = nullptr;

  void RunUntil(uint64_t end) {
    while (done < end) {
      const Work work = std::move(queue.front());
      queue.pop_front();
      work();
      ++done;
    }
  }
};
struct CUevent_st {
  bool timing = true;
  cudaStream_t stream = nullptr;
  uint64_t after = 0;
  // Shared with the work that notes it, which an event need not outlive.
  std::shared_ptr<std::optional<HostTime>> time = nullptr;
};

namespace skipstone::emulator {

void SetDevices(int devices) { TheDevice().count = devices; }
void FailNextWait(int error) { TheDevice().next_wait = static_cast<cudaError_t>(error); }
void SetFreeBytes(int64_t bytes) { TheDevice().free_bytes = bytes; }

void Enqueue(cudaStream_t stream, Work work) {
  if (stream == nullptr) stream = DefaultStream();
  if (stream->capture != nullptr) return stream->capture->works.push_back(std::move(work));
  stream->queue.push_back(std::move(work));
  ++stream->enqueued;
}

}  // namespace skipstone::emulator

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    default:
      return "emulated error";
  }
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorNoDevice ? "cudaErrorNoDevice" : "cudaError";
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = TheDevice().count;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = kL2Bytes;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = kComputeMajor;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}
cudaError_t cudaDeviceSynchronize() {
  for (const cudaStream_t stream : TheDevice().streams) stream->RunUntil(stream->enqueued);
  return WaitResult();
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = TheDevice().free_bytes;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (static_cast<int64_t>(bytes) > TheDevice().free_bytes) return cudaErrorMemoryAllocation;
  TheDevice().free_bytes -= static_cast<int64_t>(bytes);
  return Allocate(memory, bytes);
}
cudaError_t cudaFree(void* memory) { return Free(memory); }
cudaError_t cudaMallocHost(void** memory, size_t bytes) { return Allocate(memory, bytes); }
cudaError_t cudaFreeHost(void* memory) { return Free(memory); }
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  skipstone::emulator::Enqueue(nullptr, [=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  cudaStreamSynchronize(nullptr);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  skipstone::emulator::Enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  TheDevice().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->RunUntil(stream->enqueued);
  TheDevice().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream == nullptr) stream = DefaultStream();
  stream->RunUntil(stream->enqueued);
  return WaitResult();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{.timing = (flags & cudaEventDisableTiming) == 0};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event->timing) {
    event->time = std::make_shared<std::optional<HostTime>>();
    skipstone::emulator::Enqueue(
        stream, [time = event->time] { *time = std::chrono::steady_clock::now(); });
  }
  event->stream = stream;
  event->after = stream->enqueued;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream == nullptr) return cudaSuccess;
  event->stream->RunUntil(event->after);
  return WaitResult();
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  if (start->time == nullptr || end->time == nullptr) return cudaErrorInvalidResourceHandle;
  if (!start->time->has_value() || !end->time->has_value()) return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(**end->time - **start->time).count();
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = std::exchange(stream->capture, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->works};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const Work& work : exec->works) skipstone::emulator::Enqueue(stream, work);
  return cudaSuccess;
}

// ---- the matrix library: column-major, d = alpha op(a) b + beta c ----

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  cublasOperation_t transpose_a = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  uint64_t rows;
  uint64_t cols;
  int64_t ld;

  float At(const void* matrix, int64_t row, int64_t col) const {
    const int64_t i = col * ld + row;
    if (type == CUDA_R_32F) return static_cast<const float*>(matrix)[i];
    const uint16_t bits = static_cast<const uint16_t*>(matrix)[i];
    return type == CUDA_R_16F ? __half2float({bits}) : __bfloat162float({bits});
  }
  std::vector<float> ToFloats(const void* matrix) const {
    std::vector<float> out;
    out.reserve(rows * cols);
    for (uint64_t col = 0; col < cols; ++col) {
      for (uint64_t row = 0; row < rows; ++row) out.push_back(At(matrix, row, col));
    }
    return out;
  }
  void Set(void* matrix, int64_t row, int64_t col, float value) const {
    const int64_t i = col * ld + row;
    if (type == CUDA_R_32F) {
      static_cast<float*>(matrix)[i] = value;
    } else {
      static_cast<uint16_t*>(matrix)[i] =
          type == CUDA_R_16F ? __float2half_rn(value).bits : __float2bfloat16_rn(value).bits;
    }
  }
};
struct cublasLtMatmulPreferenceOpaque_t {};

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t,
                                        cudaDataType_t) {
  *product = new cublasLtMatmulDescOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t, const void* value,
                                              size_t) {
  product->transpose_a = *static_cast<const cublasOperation_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  delete product;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void*, size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t*, int* found) {
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void*,
                              size_t, cudaStream_t stream) {
  const auto fits = [](const cublasLtMatrixLayoutOpaque_t& l) {
    return l.ld >= static_cast<int64_t>(l.rows);
  };
  if (product->transpose_a != CUBLAS_OP_T || a_layout->rows != b_layout->rows ||
      a_layout->cols != d_layout->rows || b_layout->cols != d_layout->cols || !fits(*a_layout) ||
      !fits(*b_layout) || !fits(*d_layout)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const float scale = *static_cast<const float*>(alpha);
  const float keep = *static_cast<const float*>(beta);
  skipstone::emulator::Enqueue(stream,
                               [=, al = *a_layout, bl = *b_layout, cl = *c_layout, dl = *d_layout] {
                                 const std::vector<float> rows = al.ToFloats(a);
                                 const std::vector<float> cols = bl.ToFloats(b);
                                 for (uint64_t col = 0; col < dl.cols; ++col) {
                                   for (uint64_t row = 0; row < dl.rows; ++row) {
                                     float sum = 0;
                                     for (uint64_t k = 0; k < al.rows; ++k) {
                                       sum += rows[row * al.rows + k] * cols[col * al.rows + k];
                                     }
                                     sum *= scale;
                                     if (keep != 0) sum += keep * cl.At(c, row, col);
                                     dl.Set(d, row, col, sum);
                                   }
                                 }
                               });
  return CUBLAS_STATUS_SUCCESS;
}
