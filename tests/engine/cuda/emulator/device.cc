// Memory, streams, events and graphs of the emulated device (emulator.h).
#include <sys/mman.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cuda_runtime.h"
#include "emulator.h"

namespace {

using Work = std::function<void()>;

constexpr size_t kPage = 4096;
constexpr int kMultiprocessors = 4;
constexpr int kL2Bytes = 32 << 10;  // whatever is to exceed it stays small
constexpr int kComputeMajor = 9;

struct Device {
  int count = 1;
  int64_t free_bytes = int64_t{8} << 30;
  cudaError_t next_wait = cudaSuccess;
  double skipped_s = 0;                              // what its clock is ahead of the host's
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

double DeviceSeconds() {
  return TheDevice().skipped_s +
         std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
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
  std::shared_ptr<std::optional<double>> seconds = nullptr;
};

namespace skipstone::emulator {

void SetDevices(int devices) { TheDevice().count = devices; }
void FailNextWait(int error) { TheDevice().next_wait = static_cast<cudaError_t>(error); }
void SkipSeconds(double seconds) { TheDevice().skipped_s += seconds; }
void SetFreeBytes(int64_t bytes) { TheDevice().free_bytes = bytes; }

void Enqueue(cudaStream_t stream, Work work) {
  if (stream == nullptr) stream = DefaultStream();
  if (stream->capture != nullptr) return stream->capture->works.push_back(std::move(work));
  stream->queue.push_back(std::move(work));
  ++stream->enqueued;
}

// A kernel is loaded when it is first launched, which a stream that is being recorded cannot do.
void NoteLaunch(cudaStream_t stream, const void* kernel) {
  static std::set<const void*> loaded;
  if (stream != nullptr && stream->capture != nullptr) {
    SKIPSTONE_CHECK(loaded.contains(kernel));
  } else {
    loaded.insert(kernel);
  }
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
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {
      .name = "", .major = kComputeMajor, .minor = 0, .multiProcessorCount = kMultiprocessors};
  std::snprintf(properties->name, sizeof(properties->name), "emulated device");
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
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
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  skipstone::emulator::Enqueue(stream, [=] { std::memset(memory, value, bytes); });
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
    event->seconds = std::make_shared<std::optional<double>>();
    skipstone::emulator::Enqueue(stream,
                                 [seconds = event->seconds] { *seconds = DeviceSeconds(); });
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
  if (start->seconds == nullptr || end->seconds == nullptr) return cudaErrorInvalidResourceHandle;
  if (!start->seconds->has_value() || !end->seconds->has_value()) return cudaErrorNotReady;
  *ms = static_cast<float>((**end->seconds - **start->seconds) * 1e3);
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
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return exec != nullptr && stream->capture == nullptr ? cudaSuccess : cudaErrorInvalidValue;
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
