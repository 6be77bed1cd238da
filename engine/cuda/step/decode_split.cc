#include "engine/cuda/step/decode_split.h"

#include <algorithm>

namespace skipstone::cuda {
namespace {

// Below this many positions merging the parts costs more than reading the positions in one go.
constexpr int64_t kMinPositions = 128;
// A part is a multiple of what a block reads in one round.
constexpr int64_t kRound = 64;

// Thread blocks of the decode attention that a multiprocessor holds at a time: what their registers
// and shared memory allow with four query heads, the most that one block serves.
constexpr int kBlocks = 4;
constexpr int kGroup = 4;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

DecodeSplit DecodeSplit::For(const ModelShape& shape, int multiprocessors) {
  const int64_t blocks = shape.kv_heads * CeilDiv(shape.heads / shape.kv_heads, kGroup);
  return DecodeSplit(static_cast<int>(std::max<int64_t>(1, multiprocessors * kBlocks / blocks)));
}

void DecodeSplit::Plan(std::span<const Row> rows, std::vector<DecodeItem>& items) const {
  int64_t total = 0;
  for (const Row& row : rows) total += row.tokens;
  const int64_t length =
      CeilDiv(std::max(kMinPositions, CeilDiv(total, target_items_)), kRound) * kRound;
  int32_t partial = 0;
  for (const Row& row : rows) {
    const auto splits = static_cast<int32_t>(CeilDiv(row.tokens, length));
    for (int32_t s = 0; s < splits; ++s) {
      const auto first = static_cast<int32_t>(s * length);
      const auto end = static_cast<int32_t>(std::min<int64_t>(row.tokens, first + length));
      items.push_back({row.row, first, end, s, splits, partial, row.gap});
    }
    if (splits > 1) partial += splits;
  }
}

}  // namespace skipstone::cuda
