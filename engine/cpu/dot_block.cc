#include "engine/cpu/dot_block.h"

#include <algorithm>
#include <cstring>

#include "engine/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/dot_block.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "engine/cpu/dot_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {

// K elements of a panel: 6 input rows and 4 output rows of it fit a 32 KiB L1 cache.
constexpr int64_t kPanel = 512;

template <class T>
using TileFunction = void (*)(const TileArgs<T>&);

template <class T>
TileFunction<T> TileForRows(int rows) {
#if HWY_TARGET == HWY_SCALAR
  static constexpr TileFunction<T> kTiles[] = {DotTile<1, T>, DotTile<2, T>};
#elif HWY_TARGET <= HWY_AVX3
  static constexpr TileFunction<T> kTiles[] = {DotTile<1, T>, DotTile<2, T>, DotTile<3, T>,
                                               DotTile<4, T>, DotTile<5, T>, DotTile<6, T>};
#else
  static constexpr TileFunction<T> kTiles[] = {DotTile<1, T>, DotTile<2, T>, DotTile<3, T>};
#endif
  static_assert(std::size(kTiles) == kTileRows);
  return kTiles[rows - 1];
}

// All tiles over elements [k0, k1).
template <class T>
void DotPanel(const DotBlockArgs& args, int64_t k0, int64_t k1) {
  TileArgs<T> tile;
  tile.first = k0 == 0;
  tile.last = k1 == args.k;
  tile.count = k1 - k0;
  tile.sums_stride = args.sums_stride;
  for (int r = 0; r < args.rows; r += kTileRows) {
    const int rows = std::min(kTileRows, args.rows - r);
    const TileFunction<T> run = TileForRows<T>(rows);
    for (int i = 0; i < rows; ++i) tile.inputs[i] = args.inputs[r + i] + k0;
    for (int o = 0; o < args.num_outputs; o += 4) {
      tile.valid = std::min(4, args.num_outputs - o);
      for (int i = 0; i < 4; ++i) {
        // A short last tile computes its last output again and drops it.
        const int output = std::min(o + i, args.num_outputs - 1);
        tile.outputs[i] = static_cast<const T*>(args.outputs[output]) + k0;
      }
      tile.ahead = o + 4 < args.num_outputs ? static_cast<const T*>(args.outputs[o + 4]) -
                                                  static_cast<const T*>(args.outputs[o])
                                            : 0;
      tile.scratch = args.scratch + (int64_t{r} * kDotOutputs + int64_t{o} * rows) * 16;
      tile.sums = args.sums + r * args.sums_stride + o;
      run(tile);
    }
  }
}

template <class T>
void DotBlockOf(const DotBlockArgs& args) {
  // A single tile of rows gains nothing from panels.
  const int64_t step = args.rows <= kTileRows ? args.k : kPanel;
  for (int64_t k = 0; k < args.k; k += step) DotPanel<T>(args, k, std::min(k + step, args.k));
}

void DotBlockTarget(const DotBlockArgs& args) {
  switch (args.type) {
    case DType::kF32:
      return DotBlockOf<float>(args);
    case DType::kF16:
      return DotBlockOf<hwy::float16_t>(args);
    case DType::kBF16:
      return DotBlockOf<hwy::bfloat16_t>(args);
  }
}

void ArrangeInputTarget(DType type, int64_t k, float* input) {
  if (type != DType::kBF16) return;
  const D d;
  const int64_t n = hn::Lanes(d);
  V even, odd;
  for (; k >= 2 * n; k -= 2 * n, input += 2 * n) {
    hn::LoadInterleaved2(d, input, even, odd);
    hn::StoreU(even, d, input);
    hn::StoreU(odd, d, input + n);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace skipstone {

HWY_EXPORT(ArrangeInputTarget);
HWY_EXPORT(DotBlockTarget);

void ArrangeInput(DType type, int64_t k, float* input) {
  HWY_DYNAMIC_DISPATCH(ArrangeInputTarget)(type, k, input);
}
void DotBlock(const DotBlockArgs& args) { HWY_DYNAMIC_DISPATCH(DotBlockTarget)(args); }

}  // namespace skipstone
#endif
