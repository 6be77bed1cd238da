// Which rows' logits exist together: all that a row is compared with must be there beside it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/step/sampling.h"

namespace skipstone {

struct LogitsEntry {
  int32_t row = 0;         // among the step's logits rows
  int32_t reference = -1;  // the place within the block of what it is compared with; -1: none
  bool reduced = true;     // false: there as a reference only
};
using LogitsBlock = std::vector<LogitsEntry>;

// Each row is reduced in one block, of at most `size` entries (>= 2). Rows of one reference follow
// each other, so that its logits are computed once for many; without references blocks are ranges
// of rows.
std::vector<LogitsBlock> BlocksOf(std::span<const LogitsRow> rows, int size);

}  // namespace skipstone
