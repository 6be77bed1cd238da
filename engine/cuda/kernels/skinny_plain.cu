// Skinny products whose results are added to the residual or stored as logits. The kernel:
// skinny_matmul.cuh. A tile is 16 consecutive outputs. Beside the weights the residual's rows are
// read and written once, or the logits' written: 8 or 4 bytes per row and output.
#include "engine/cuda/kernels/skinny_matmul.cuh"

namespace skipstone::cuda {
namespace {

struct StoreLogits : PlainTile {
  float* logits;

  __device__ void Store(const StepHeader*, int tile, int g, int, int i, float2 y) const {
    float* to = logits + static_cast<int64_t>(i) * outputs;
    const int output = 16 * tile + g;
    if (output < outputs) to[output] = y.x;
    if (output + 8 < outputs) to[output + 8] = y.y;
  }
};

template <class Epilogue>
cudaError_t LaunchOfType(const SkinnyArgs& args, const Epilogue& epilogue, int rows,
                         cudaStream_t stream) {
  return args.type == DType::kBF16 ? LaunchSkinny<__nv_bfloat16>(args, epilogue, rows, stream)
                                   : LaunchSkinny<__half>(args, epilogue, rows, stream);
}

}  // namespace

cudaError_t LaunchSkinnyAdd(const SkinnyArgs& args, float* residual, int rows,
                            cudaStream_t stream) {
  return LaunchOfType(args, AddToResidual{{args.source, args.outputs}, residual}, rows, stream);
}

cudaError_t LaunchSkinnyLogits(const SkinnyArgs& args, float* logits, int rows,
                               cudaStream_t stream) {
  return LaunchOfType(args, StoreLogits{{args.source, args.outputs}, logits}, rows, stream);
}

}  // namespace skipstone::cuda
