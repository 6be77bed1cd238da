// Products of fitted maps with few rows, all maps of a sublayer in one launch. The kernel:
// skinny_matmul.cuh; the grid's second dimension is the map. A block whose map has no rows, or rows
// for the library, leaves before it reads weights.
#include <algorithm>
#include <type_traits>

#include "engine/cuda/kernels/map_kernels.h"
#include "engine/cuda/kernels/skinny_matmul.cuh"

namespace skipstone::cuda {
namespace {

template <class T>
struct StoreRow : PlainTile {
  T* rows;
  int stride;

  __device__ void Store(const StepHeader*, int tile, int g, int row, int, float2 y) const {
    T* to = rows + static_cast<int64_t>(row) * stride;
    const int output = 16 * tile + g;
    if (output < outputs) to[output] = FromFloat<T>(y.x);
    if (output + 8 < outputs) to[output + 8] = FromFloat<T>(y.y);
  }
};

// `epilogue` lacks what is the map's: rows and outputs.
template <class T, int kRowTiles, class Epilogue>
__global__ void __launch_bounds__(kSkinnyThreads)
    SkinnyMapKernel(MapProductsArgs args, Epilogue epilogue) {
  const MapProduct product = args.products[blockIdx.y];
  epilogue.source = {args.kind, args.layer, product.map, kSkinnyRows};
  epilogue.outputs = product.outputs;
  if (16 * static_cast<int>(blockIdx.x) >= product.outputs) {
    WaitForPrevious();
    return;
  }
  const SkinnyArgs one{.step = args.step,
                       .source = epilogue.source,
                       .weight = product.weight,
                       .x = args.x,
                       .type = args.type,
                       .outputs = product.outputs,
                       .inputs = product.inputs,
                       .x_stride = args.x_stride,
                       .may_be_empty = args.may_be_empty};
  SkinnyTile<T, kRowTiles>(one, epilogue, blockIdx.x);
}

template <class T, class Epilogue>
cudaError_t LaunchOfType(const MapProductsArgs& args, const Epilogue& epilogue, int rows,
                         cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  int outputs = 0;
  for (int i = 0; i < args.count; ++i) outputs = std::max(outputs, args.products[i].outputs);
  const LaunchShape shape{.grid = dim3((outputs + 15) / 16, args.count), .threads = kSkinnyThreads};
  return rows <= 8 ? Launch(SkinnyMapKernel<T, 1, Epilogue>, shape, stream, args, epilogue)
                   : Launch(SkinnyMapKernel<T, 2, Epilogue>, shape, stream, args, epilogue);
}

}  // namespace

cudaError_t LaunchMapDown(const MapProductsArgs& args, void* to, int stride, int rows,
                          cudaStream_t stream) {
  const auto launch = [&](auto* typed) {
    using T = std::remove_pointer_t<decltype(typed)>;
    return LaunchOfType<T>(args, StoreRow<T>{{}, typed, stride}, rows, stream);
  };
  return args.type == DType::kBF16 ? launch(static_cast<__nv_bfloat16*>(to))
                                   : launch(static_cast<__half*>(to));
}

cudaError_t LaunchMapUp(const MapProductsArgs& args, float* residual, int rows,
                        cudaStream_t stream) {
  const AddToResidual epilogue{{}, residual};
  return args.type == DType::kBF16 ? LaunchOfType<__nv_bfloat16>(args, epilogue, rows, stream)
                                   : LaunchOfType<__half>(args, epilogue, rows, stream);
}

}  // namespace skipstone::cuda
