// The skinny product of gate and up, fused with the activation. The kernel: skinny_matmul.cuh. A
// tile is eight rows of gate and the same eight of up, so that a lane holds both factors. Beside
// the weights the activations are written once: 2 bytes per row and output.
#include "engine/cuda/kernels/skinny_matmul.cuh"

namespace skipstone::cuda {
namespace {

template <class T>
struct SwiGlu {
  RowSource source;
  int ffn;
  T* gated;

  __device__ int WeightRow(int tile, int r) const {
    const int output = min(8 * tile + r % 8, ffn - 1);
    return r < 8 ? output : ffn + output;
  }
  __device__ RowView Rows(const StepHeader* step, int) const { return source.Of(step); }
  __device__ void Store(const StepHeader*, int tile, int g, int row, int, float2 y) const {
    const int output = 8 * tile + g;
    if (output >= ffn) return;
    gated[static_cast<int64_t>(row) * ffn + output] =
        FromFloat<T>(y.x / (1.0f + __expf(-y.x)) * y.y);
  }
};

template <class T>
cudaError_t LaunchOfType(const SkinnyArgs& args, void* gated, int rows, cudaStream_t stream) {
  const SwiGlu<T> epilogue{args.source, args.outputs / 2, static_cast<T*>(gated)};
  return LaunchSkinny<T>(args, epilogue, rows, stream);
}

}  // namespace

cudaError_t LaunchSkinnySwiGlu(const SkinnyArgs& args, void* gated, int rows, cudaStream_t stream) {
  return args.type == DType::kBF16 ? LaunchOfType<__nv_bfloat16>(args, gated, rows, stream)
                                   : LaunchOfType<__half>(args, gated, rows, stream);
}

}  // namespace skipstone::cuda
