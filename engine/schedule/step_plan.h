// One step, in terms of sequences: what the scheduler decides and a ModelRunner executes.
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "engine/skip/skip_set.h"
#include "engine/step/step_input.h"

namespace skipstone {

using SequenceId = uint64_t;

// Consecutive positions of one sequence. The last logits_rows rows need logits.
struct SequenceChunk {
  SequenceId sequence = 0;
  int32_t slot = 0;
  int32_t set = 0;  // its skip set among StepPlan::sets
  int32_t first_position = 0;
  int32_t num_rows = 0;
  int32_t first_token = 0;  // index into StepPlan::tokens of the first row's token
  int32_t logits_rows = 0;
  int32_t silent_after = 0;  // rows behind the chunk, before the sequence's next that needs logits
  bool samples = false;      // a token is drawn from the last row
  // Alternatives wanted for the sampled token, and for the prompt tokens that follow the other
  // logits rows; -1: no log-probabilities. The targets of the latter are the tokens themselves:
  // StepPlan::tokens holds one more token than the chunk has rows if its last row has a target.
  int32_t sample_top_n = -1;
  int32_t prompt_top_n = -1;
  bool last_row_has_target = false;
  bool shadow = false;  // see ShadowQueue
  // The chunk whose logits rows are what this one's are compared with, row by row; -1: none.
  int32_t reference = -1;

  // Position of the sequence's first row that needs logits.
  int32_t FirstLogitsRow() const { return first_position + num_rows - logits_rows + silent_after; }
};

struct StepPlan {
  uint64_t id = 0;
  std::vector<SequenceChunk> chunks;
  std::vector<SkipSet> sets;    // of the chunks; no two are equal
  std::vector<int32_t> tokens;  // ids or kSampledToken
  int32_t num_rows = 0;
  int32_t decode_rows = 0;  // of them: that only draw the next token
  int32_t shadow_rows = 0;  // that score what was served once more
  double prefill_work = 0;  // of the others, in prompt rows of the model without skipping
  std::vector<SlotStart> slot_starts;  // views valid until the scheduler is called again
  std::vector<PageUpdate> page_updates;
  int preemptions = 0;
  int shed_layers = 0;
  int64_t shed_pages = 0;
  std::vector<SequenceId> started;  // for the first time
  int64_t prefix_query_tokens = 0;  // looked up in the prefix cache, and found there
  int64_t prefix_hit_tokens = 0;

  bool empty() const { return chunks.empty(); }
  const SkipSet& SkipOf(const SequenceChunk& chunk) const { return sets[chunk.set]; }
  // The place of `skip` among the sets, which it joins if it is new. `likely`: where it may be.
  int32_t SetOf(const SkipSet& skip, int32_t likely = 0) {
    return likely < std::ssize(sets) && sets[likely] == skip ? likely : FindOrAdd(skip);
  }
  // Empty again, with the memory it has.
  void Clear();

 private:
  int32_t FindOrAdd(const SkipSet& skip);
};

}  // namespace skipstone
