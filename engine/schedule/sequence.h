// One output of one request, as the scheduler sees it: what was asked, where it stands, how far it
// got, and the pages and slot it holds. The step thread owns it. Positions count its tokens:
// prompt, then output. length() includes a token that a launched step is sampling; planned is the
// number of positions whose rows have been planned.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "engine/kv/prefix_index.h"
#include "engine/kv/sequence_pages.h"
#include "engine/schedule/model_work.h"
#include "engine/schedule/sequence_spec.h"
#include "engine/schedule/step_plan.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

struct Tenant;

enum class SequenceState {
  kNew,        // not in the scheduler yet
  kFollowing,  // waits behind the first output of its request
  kWaiting,    // waits for its first start
  kRunning,    // has a slot
  kPreempted,  // waits for its next start
  kEnded,
};

// Waiting that one class of priority outweighs: long against the time to first token that a class
// is about, short against the patience of a client. Since it is finite, nothing starves: what
// arrives later than this times the difference of the classes goes behind.
inline constexpr std::chrono::seconds kPriorityAging{30};

class Sequence {
 public:
  Sequence(SequenceSpec spec, PagePool& pool, int page_tokens);

  int PromptTokens() const { return static_cast<int>(spec.prompt.size()); }
  // Sequences go in this order: arrival, moved forward by priority. It never changes, so queues
  // can be sorted by it.
  Time Precedence() const { return spec.arrival - spec.priority * kPriorityAging; }
  struct Before {
    bool operator()(const Sequence* a, const Sequence* b) const {
      return std::tuple(a->Precedence(), a->spec.id) < std::tuple(b->Precedence(), b->spec.id);
    }
  };
  // Tokens known or being sampled.
  int length() const { return PromptTokens() + static_cast<int>(output.size()) + in_flight; }
  // Positions that have to run before the next token can be drawn. The last token of a scored text
  // is only ever a target.
  int RowsWanted() const { return spec.scores() ? length() - 1 : length(); }
  int RowsLeft() const { return RowsWanted() - planned; }
  // Tokens whose K/V the finished sequence will hold at the most.
  int MaxStored() const { return PromptTokens() - 1 + (spec.scores() ? 0 : spec.max_tokens); }
  // All that was asked of it has been planned.
  bool AllPlanned() const {
    if (spec.scores()) return RowsLeft() == 0;
    return static_cast<int>(output.size()) + in_flight >= spec.max_tokens;
  }
  // All that is left to run is a row that draws a token, and not the first one since its start.
  bool DecodeReady() const { return decoding && RowsLeft() == 1; }
  // Token at `position` as a plan's row takes it.
  int32_t TokenAt(int position) const {
    if (position < PromptTokens()) return spec.prompt[position];
    const size_t i = position - PromptTokens();
    if (i + 1 == output.size()) return last_token;
    return i < output.size() ? output[i] : kSampledToken;
  }
  SequenceState state() const { return state_; }
  bool running() const { return state_ == SequenceState::kRunning; }
  bool never_ran() const { return state_ < SequenceState::kRunning; }
  // Checks that the step is legal. Whoever queues, starts and ends sequences calls: the WaitQueue.
  void MoveTo(SequenceState next);
  // The first position whose row needs logits: nothing from there on may come from the cache.
  int FirstLogitsRow() const {
    const bool prompt_rows = spec.scores() || spec.prompt_logprobs >= 0;
    return prompt_rows && next_prompt_logprob < PromptTokens() - 1 ? next_prompt_logprob
                                                                   : length() - 1;
  }
  // Of its rows under its set, see row_work.
  void Weigh(const ModelWork& work);
  // Of the next `rows` rows.
  double WorkOf(int rows) const;
  // How many of the rows left so much work pays for.
  int RowsWithin(double work) const;
  // The ceiling allows the deepest kept attention less than it has: a window, or nothing.
  bool CanShed() const;
  // Pages that no other sequence shares and that Shed would give back.
  int PagesToShed() const;
  // Appends the tokens of positions [begin, end), which are known.
  void AppendTokens(int begin, int end, std::vector<int32_t>* tokens) const {
    for (int position = begin; position < end; ++position) tokens->push_back(TokenAt(position));
  }

  // Puts its next rows into the plan.
  void PlanRows(int rows, StepPlan* plan);
  // The deepest kept attention becomes what the ceiling has there. K and V of the layers that stay
  // are the same under both sets (SEMANTICS "Shedding from the top"): their pages, the cursor and
  // what is in flight stay good. Above a layer that becomes windowed there must be none, so a
  // ceiling's window is taken at the deepest kept layer only. The maps above are then the
  // ceiling's, or none.
  void Shed();
  // The token that a planned row has drawn.
  SequenceEnd AddToken(int32_t token);
  // Skip sets that came into force up to the next token and have not been taken yet.
  std::vector<AppliedRange> TakeApplied();

  const SequenceSpec spec;
  std::vector<int32_t> output;
  SequencePages pages;
  PrefixIndex::Cursor cursor;  // the blocks that it adopted from the prefix cache or entered there
  int cached_tokens = 0;       // prompt tokens adopted at the first start
  std::vector<AppliedRange> unreported;  // sets that came into force and were not taken yet
  Sequence* leader = nullptr;            // while it follows
  std::vector<Sequence*> followers;      // that wait behind it
  Tenant* tenant = nullptr;
  bool at_newcomers_expense = false;  // its tenant's first, where shares are fair: see WaitQueue
  // Work of a row by its kind (Liveness), in rows without skipping that need no logits.
  std::vector<double> row_work;
  uint64_t start_plan = 0;  // id of the plan that started it last
  SkipSet skip;             // in force for the rows planned next
  int32_t set = 0;          // its place among the sets of the last plan
  int32_t slot = -1;        // while it runs
  int planned = 0;
  int in_flight = 0;       // tokens that planned, uncommitted steps sample: 0 to 2
  int32_t last_token = 0;  // of `output`, where planning a row finds it sooner
  bool decoding = false;   // since its start it has paid for a row that draws a token, in full
  // First prompt position whose row still has to deliver the log-probability of the next token.
  int next_prompt_logprob = 0;
  int preemptions = 0;

 private:
  SequenceState state_ = SequenceState::kNew;
};

}  // namespace skipstone
