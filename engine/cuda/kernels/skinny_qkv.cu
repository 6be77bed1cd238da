// The skinny product of q, k and v, fused with rotation and page write. The kernel:
// skinny_matmul.cuh. A tile is eight elements of the lower half of a head and the eight of the
// upper half that they are rotated with, so that a lane holds the pair. Beside the weights the
// results are written once: 2 bytes per row and output. Limits: head_dim a multiple of 16.
#include "engine/cuda/kernels/kv_store.cuh"
#include "engine/cuda/kernels/skinny_matmul.cuh"

namespace skipstone::cuda {
namespace {

template <class T>
struct RotateAndStore {
  SkinnyQkvArgs args;

  // q heads, then k heads, then v heads.
  __device__ int Head(int tile) const { return 16 * tile / args.heads.head_dim; }
  __device__ int Element(int tile) const { return 16 * tile % args.heads.head_dim / 2; }

  __device__ int WeightRow(int tile, int r) const {
    const int half = args.heads.head_dim / 2;
    return Head(tile) * args.heads.head_dim + Element(tile) + r % 8 + (r < 8 ? 0 : half);
  }

  __device__ RowView Rows(const StepHeader* step, int tile) const {
    const bool query = Head(tile) < args.heads.heads;
    return RowSource{query ? ListKind::kQuery : ListKind::kKv, args.layer, 0, 0}.Of(step);
  }

  __device__ void Store(const StepHeader* step, int tile, int g, int row, int, float2 pair) const {
    const int half = args.heads.head_dim / 2;
    const int d = Element(tile) + g;
    const int position = step->At<int32_t>(step->positions)[row];
    const int kv_head = Head(tile) - args.heads.heads;
    const bool value = kv_head >= args.heads.kv_heads;
    if (!value) pair = Rotate(pair.x, pair.y, args.rope[static_cast<int64_t>(position) * half + d]);
    T* to;
    if (kv_head < 0) {
      to = static_cast<T*>(args.qkv) + static_cast<int64_t>(row) * args.heads.qkv_size() +
           Head(tile) * args.heads.head_dim;
    } else {
      const int slot = step->At<int32_t>(step->slots)[row];
      to = TokenOf<T>(args.pages, TableOf(args.pages, slot, args.layer), position,
                      value ? PagePart::kValue : PagePart::kKey, kv_head % args.heads.kv_heads);
    }
    to[d] = FromFloat<T>(pair.x);
    to[d + half] = FromFloat<T>(pair.y);
  }
};

}  // namespace

cudaError_t LaunchSkinnyQkv(const SkinnyArgs& args, const SkinnyQkvArgs& qkv, int rows,
                            cudaStream_t stream) {
  return args.type == DType::kBF16
             ? LaunchSkinny<__nv_bfloat16>(args, RotateAndStore<__nv_bfloat16>{qkv}, rows, stream)
             : LaunchSkinny<__half>(args, RotateAndStore<__half>{qkv}, rows, stream);
}

}  // namespace skipstone::cuda
