#include "engine/backend/logits_blocks.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace skipstone {

std::vector<LogitsBlock> BlocksOf(std::span<const LogitsRow> rows, int size) {
  std::vector<int32_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  // A reference goes first, then what is compared with it.
  std::ranges::stable_sort(order, {}, [&](int32_t row) {
    const int32_t reference = rows[row].reference;
    return std::tuple(reference < 0 ? row : reference, reference >= 0, row);
  });
  std::vector<LogitsBlock> blocks;
  for (const int32_t row : order) {
    const int32_t reference = rows[row].reference;
    const auto place = [&] {
      const auto same = [&](const LogitsEntry& entry) { return entry.row == reference; };
      return static_cast<int32_t>(std::ranges::find_if(blocks.back(), same) -
                                  blocks.back().begin());
    };
    if (blocks.empty() || std::ssize(blocks.back()) == size) blocks.emplace_back();
    if (reference < 0) {
      blocks.back().push_back({.row = row});
      continue;
    }
    if (place() == std::ssize(blocks.back())) {
      if (std::ssize(blocks.back()) + 2 > size) blocks.emplace_back();
      blocks.back().push_back({.row = reference, .reduced = false});
    }
    blocks.back().push_back({.row = row, .reference = place()});
  }
  return blocks;
}

}  // namespace skipstone
