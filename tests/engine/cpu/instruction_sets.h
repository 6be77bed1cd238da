// Tests of a kernel on every instruction set that it is compiled for and this CPU has:
//
//   class RmsNormTest : public InstructionSetTest {};
//   TEST_P(RmsNormTest, ...) ...
//   SKIPSTONE_ON_INSTRUCTION_SETS(RmsNormTest);
#pragma once

#include "engine/cpu/simd.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace skipstone {

class InstructionSetTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Choose(GetParam()); }
  void TearDown() override { Choose(0); }

 private:
  static void Choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
  }
};

#define SKIPSTONE_ON_INSTRUCTION_SETS(suite)                                                       \
  INSTANTIATE_TEST_SUITE_P(Targets, suite, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), \
                           [](const auto& info) { return hwy::TargetName(info.param); })

}  // namespace skipstone
