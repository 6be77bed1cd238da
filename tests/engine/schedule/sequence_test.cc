#include "engine/schedule/sequence.h"

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

SequenceSpec Spec(const char* skip) {
  return {.prompt = {1, 2, 3, 4, 5, 6, 7, 8}, .skip = *ParseSkipSet(skip, 4), .max_tokens = 5};
}

// After a preemption all but the last row may come from the prefix cache, or cost nothing: whoever
// counts it as a decode row has not paid for it, and decode rows exceed the budget in the end.
TEST(SequenceTest, IsReadyToDecodeOnceItDrewATokenSinceItsStart) {
  PagePool pool(64);
  Sequence sequence(Spec("none"), pool, 4);
  sequence.output = {9};
  sequence.planned = 8;
  EXPECT_FALSE(sequence.DecodeReady());
  StepPlan plan;
  sequence.PlanRows(1, &plan);
  EXPECT_TRUE(sequence.DecodeReady());
}

}  // namespace
}  // namespace skipstone
