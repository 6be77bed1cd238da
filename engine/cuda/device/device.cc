#include "engine/cuda/device/device.h"

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/device/device_error.h"

namespace skipstone {

bool HasCudaDevice() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

namespace cuda {

absl::StatusOr<Device> OpenDevice() {
  const char* const what = "backend 'cuda' (needs an NVIDIA GPU and a driver for CUDA 13)";
  int devices = 0;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaGetDeviceCount(&devices), what));
  if (devices == 0) return ToStatus(cudaErrorNoDevice, what);
  Device device;
  int major = 0;
  SKIPSTONE_RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), what));
  if (major < 8) {
    return absl::UnimplementedError(absl::StrFormat(
        "backend 'cuda': the device has compute capability %d.x, 8.0 or later is needed", major));
  }
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(
      cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, 0), what));
  SKIPSTONE_ASSIGN_OR_RETURN(device.stream, Stream::Create());
  return device;
}

absl::Status CheckShape(const ModelShape& shape) {
  if (shape.head_dim != 64 && shape.head_dim != 128) {
    return absl::UnimplementedError(
        absl::StrFormat("head_dim %d: the CUDA backend serves 64 and 128", shape.head_dim));
  }
  if (shape.hidden % 8 != 0 || shape.ffn % 8 != 0) {
    return absl::UnimplementedError(absl::StrFormat(
        "hidden %d, ffn %d: the CUDA backend serves multiples of 8", shape.hidden, shape.ffn));
  }
  if (shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("heads %d: not a multiple of kv_heads %d", shape.heads, shape.kv_heads));
  }
  return absl::OkStatus();
}

}  // namespace cuda
}  // namespace skipstone
