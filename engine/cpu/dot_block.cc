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

// K elements of a panel, and outputs that are widened together: 8 output rows as floats and the
// input rows of a tile fit a 32 KiB L1 cache, and an input row is used twice while it is there.
constexpr int64_t kPanel = kTileRows > 3 ? 512 : 640;
constexpr int kWideOutputs = 8;

template <class T>
using TileFunction = void (*)(const TileArgs<T>&);

template <class T, bool kStream>
TileFunction<T> TileForRows(int rows) {
#if HWY_TARGET == HWY_SCALAR
  static constexpr TileFunction<T> kTiles[] = {DotTile<1, T, kStream>, DotTile<2, T, kStream>};
#elif HWY_TARGET <= HWY_AVX3
  static constexpr TileFunction<T> kTiles[] = {DotTile<1, T, kStream>, DotTile<2, T, kStream>,
                                               DotTile<3, T, kStream>, DotTile<4, T, kStream>,
                                               DotTile<5, T, kStream>, DotTile<6, T, kStream>};
#else
  static constexpr TileFunction<T> kTiles[] = {DotTile<1, T, kStream>, DotTile<2, T, kStream>,
                                               DotTile<3, T, kStream>};
#endif
  static_assert(std::size(kTiles) == kTileRows);
  return kTiles[rows - 1];
}

template <class T>
const T* OutputRow(const DotBlockArgs& args, int output) {
  // A short last tile computes its last output again and drops it.
  return static_cast<const T*>(args.outputs[std::min(output, args.num_outputs - 1)]);
}

// Outputs [o, o + 4) with input rows [r, r + rows) over elements [k0, k1). `tile` has the outputs.
template <bool kStream, class T>
void RunTile(const DotBlockArgs& args, int64_t k0, int64_t k1, int r, int o, TileArgs<T>& tile) {
  const int rows = std::min(kTileRows, args.rows - r);
  for (int i = 0; i < rows; ++i) tile.inputs[i] = args.inputs[r + i] + k0;
  tile.count = k1 - k0;
  tile.first = k0 == 0;
  tile.last = k1 == args.k;
  tile.valid = std::min(4, args.num_outputs - o);
  tile.scratch = args.scratch + (int64_t{r} * kDotOutputs + int64_t{o} * rows) * 16;
  tile.sums = args.sums + r * args.sums_stride + o;
  tile.sums_stride = args.sums_stride;
  TileForRows<T, kStream>(rows)(tile);
}

// A single tile of rows: weights stream through it as they are.
template <class T>
void DotStream(const DotBlockArgs& args) {
  for (int o = 0; o < args.num_outputs; o += 4) {
    TileArgs<T> tile;
    for (int i = 0; i < 4; ++i) tile.outputs[i] = OutputRow<T>(args, o + i);
    tile.ahead = o + 4 < args.num_outputs ? OutputRow<T>(args, o + 4) - tile.outputs[0] : 0;
    RunTile<true>(args, 0, args.k, 0, o, tile);
  }
}

// Many rows, elements [k0, k1): weights are widened once and used by all of them.
template <class T>
void DotPanel(const DotBlockArgs& args, int64_t k0, int64_t k1) {
  HWY_ALIGN float wide[kWideOutputs][kPanel];
  for (int o = 0; o < args.num_outputs; o += kWideOutputs) {
    const int outputs = std::min(kWideOutputs, args.num_outputs - o);
    for (int i = 0; i < outputs; ++i) {
      const T* row = OutputRow<T>(args, o + i);
      Widen(row + k0, k1 - k0, OutputRow<T>(args, o + i + kWideOutputs) - row, wide[i]);
    }
    for (int r = 0; r < args.rows; r += kTileRows) {
      for (int t = 0; t < outputs; t += 4) {
        TileArgs<float> tile;
        for (int i = 0; i < 4; ++i) tile.outputs[i] = wide[std::min(t + i, outputs - 1)];
        tile.ahead = 0;
        RunTile<false>(args, k0, k1, r, o + t, tile);
      }
    }
  }
}

template <class T>
void DotBlockOf(const DotBlockArgs& args) {
  if (args.rows <= kTileRows) return DotStream<T>(args);
  // Panels of one width: the accumulators of a short last one would be loaded for little.
  constexpr int64_t kStep = 64;  // divides kPanel
  const int64_t panels = (args.k + kPanel - 1) / kPanel;
  const int64_t width = (args.k + panels * kStep - 1) / (panels * kStep) * kStep;
  for (int64_t k = 0; k < args.k; k += width) DotPanel<T>(args, k, std::min(k + width, args.k));
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
