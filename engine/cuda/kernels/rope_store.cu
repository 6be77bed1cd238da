// Rotary position embedding and the page write, for products that were not made by the skinny
// kernel, which fuses both.
//
// A block handles one row: block (i, 0) the queries of query row i, block (i, 1) keys and values of
// KV row i. A thread handles pairs (d, d + head_dim / 2). Every element is read and written once:
// 4 bytes.
#include "engine/cuda/kernels/kv_store.cuh"
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ void RotateQueries(const RopeStoreArgs& args, const float2* rope, T* row) {
  const int half = args.heads.head_dim / 2;
  for (int i = threadIdx.x; i < args.heads.heads * half; i += kThreads) {
    T* head = row + i / half * args.heads.head_dim;
    const int d = i % half;
    const float2 q = Rotate(ToFloat(head[d]), ToFloat(head[d + half]), rope[d]);
    head[d] = FromFloat<T>(q.x);
    head[d + half] = FromFloat<T>(q.y);
  }
}

template <class T>
__device__ void StoreKeysAndValues(const RopeStoreArgs& args, const float2* rope, int slot,
                                   int position, const T* keys) {
  const int half = args.heads.head_dim / 2;
  const int32_t* table = TableOf(args.pages, slot, args.layer);
  const T* values = keys + args.heads.kv_heads * args.heads.head_dim;
  for (int i = threadIdx.x; i < args.heads.kv_heads * half; i += kThreads) {
    const int head = i / half;
    const int d = i % half;
    const int from = head * args.heads.head_dim + d;
    const float2 k = Rotate(ToFloat(keys[from]), ToFloat(keys[from + half]), rope[d]);
    T* to = TokenOf<T>(args.pages, table, position, PagePart::kKey, head);
    to[d] = FromFloat<T>(k.x);
    to[d + half] = FromFloat<T>(k.y);
    to = TokenOf<T>(args.pages, table, position, PagePart::kValue, head);
    to[d] = values[from];
    to[d + half] = values[from + half];
  }
}

template <class T>
__global__ void RopeStoreKernel(RopeStoreArgs args) {
  WaitForPrevious();
  const bool keys = blockIdx.y == 1;
  const RowView rows =
      RowSource{keys ? ListKind::kKv : ListKind::kQuery, args.layer, 0, 0}.Of(args.step);
  if (static_cast<int>(blockIdx.x) >= rows.count) return;
  const int row = rows[blockIdx.x];
  const int position = args.step->At<int32_t>(args.step->positions)[row];
  const float2* rope = args.rope + static_cast<int64_t>(position) * (args.heads.head_dim / 2);
  T* qkv = static_cast<T*>(args.qkv) + static_cast<int64_t>(row) * args.heads.qkv_size();
  if (!keys) return RotateQueries(args, rope, qkv);
  const int slot = args.step->At<int32_t>(args.step->slots)[row];
  StoreKeysAndValues<T>(args, rope, slot, position, qkv + args.heads.heads * args.heads.head_dim);
}

}  // namespace

cudaError_t LaunchRopeStore(const RopeStoreArgs& args, int query_rows, int kv_rows,
                            cudaStream_t stream) {
  const int rows = query_rows > kv_rows ? query_rows : kv_rows;
  const LaunchShape shape{.grid = dim3(rows, 2), .threads = kThreads};
  return args.type == DType::kBF16 ? Launch(RopeStoreKernel<__nv_bfloat16>, shape, stream, args)
                                   : Launch(RopeStoreKernel<__half>, shape, stream, args);
}

}  // namespace skipstone::cuda
