// Which algorithm LtMatMul takes and what it asks of the library for it, on the emulator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/log.h"
#include "engine/cuda/products/row_products.h"
#include "tests/engine/cuda/emulator/emulator.h"
#include "tests/engine/cuda/lt_rig.h"
#include "tests/support/temp_dir.h"

namespace skipstone::cuda {
namespace {

using emulator::kMatmulAlgorithms;
using emulator::SetMatmulAlgorithm;
using emulator::TakeMatmulCalls;
using testing::HasSubstr;

class LtTuningTest : public testing::Test {
 protected:
  void SetUp() override {
    SetLogSink([this](LogSeverity, const std::string& message) { logged_.push_back(message); });
    SetFastest(1);
    TakeMatmulCalls();
  }
  void TearDown() override {
    SetLogSink(nullptr);
    SetFastest(1);
  }

  static void SetFastest(int algorithm, int row_multiple = 1) {
    for (int i = 0; i < kMatmulAlgorithms; ++i) SetMatmulAlgorithm(i, {.seconds = 1.0 + i});
    SetMatmulAlgorithm(algorithm, {.row_multiple = row_multiple});
  }
  // The algorithm that a tuned product takes.
  int AlgorithmOf(LtMatMul& library, int rows, bool add = false) const {
    rig_.ExpectProduct(library, rows, add);
    return TakeMatmulCalls().last_algorithm;
  }
  // Whether a tuned product is timed.
  bool Times(LtMatMul& library, int rows) const {
    TakeMatmulCalls();
    rig_.ExpectProduct(library, rows);
    const int products = TakeMatmulCalls().products;
    EXPECT_TRUE(products == 1 || products > kMatmulAlgorithms) << products;
    return products > 1;
  }
  std::string Read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void TuneAndSave(int rows) const {
    LtMatMul library = *LtMatMul::Create(path_);
    EXPECT_TRUE(Times(library, rows));
    library.Seal();
  }

  const LtRig rig_{64};
  const TempDir folder_;
  const std::string path_ = folder_.path() + "/tuning";
  std::vector<std::string> logged_;
};

TEST_F(LtTuningTest, TakesTheFastest) {
  for (int fastest = 0; fastest < kMatmulAlgorithms; ++fastest) {
    SetFastest(fastest);
    LtMatMul library = *LtMatMul::Create();
    EXPECT_EQ(AlgorithmOf(library, 32), fastest);
    EXPECT_EQ(AlgorithmOf(library, 20, true), fastest);
    EXPECT_EQ(AlgorithmOf(library, 64), fastest);
  }
}

TEST_F(LtTuningTest, ARangeOfRowsIsTimedOnce) {
  LtMatMul library = *LtMatMul::Create();
  for (int rows = 17; rows <= 64; ++rows) {
    EXPECT_EQ(Times(library, rows), rows == 17 || rows == 33) << rows;
  }
  EXPECT_TRUE(rig_.Tune(library, 64, true).ok());
  EXPECT_GT(TakeMatmulCalls().products, 1) << "another kind of product";
}

// Nothing is asked of the library for a row count that comes again.
TEST_F(LtTuningTest, RepeatedProductsAskNothing) {
  LtMatMul library = *LtMatMul::Create();
  rig_.ExpectProduct(library, 40);
  TakeMatmulCalls();
  rig_.ExpectProduct(library, 40);
  const emulator::MatmulCalls calls = TakeMatmulCalls();
  EXPECT_EQ(calls.heuristics + calls.checks, 0);
  EXPECT_EQ(calls.products, 1);
}

TEST_F(LtTuningTest, ARowCountThatTheFastestDoesNotTakeGetsTheFirstThatDoes) {
  SetFastest(2, /*row_multiple=*/8);
  LtMatMul library = *LtMatMul::Create();
  EXPECT_EQ(AlgorithmOf(library, 20), 0) << "the range's first product";
  EXPECT_EQ(AlgorithmOf(library, 32), 2);
  EXPECT_EQ(AlgorithmOf(library, 17), 0);
  EXPECT_EQ(AlgorithmOf(library, 24), 2);
}

// The library's check is no promise. What runs in its place is kept for that row count.
TEST_F(LtTuningTest, AnAlgorithmThatFitsAndDoesNotRunIsReplaced) {
  LtMatMul library = *LtMatMul::Create();
  EXPECT_EQ(AlgorithmOf(library, 32), 1);
  SetMatmulAlgorithm(1, {.most_rows = 20});
  EXPECT_EQ(AlgorithmOf(library, 30), 0);
  rig_.ExpectProduct(library, 30);
  EXPECT_EQ(TakeMatmulCalls().heuristics, 0);
  EXPECT_EQ(AlgorithmOf(library, 18), 1);
}

TEST_F(LtTuningTest, TheSecondStartTimesNothing) {
  TuneAndSave(64);
  SetFastest(2);
  LtMatMul library = *LtMatMul::Create(path_);
  TakeMatmulCalls();
  rig_.ExpectProduct(library, 50);
  const emulator::MatmulCalls calls = TakeMatmulCalls();
  EXPECT_EQ(calls.heuristics, 0);
  EXPECT_EQ(calls.products, 1);
  EXPECT_EQ(calls.last_algorithm, 1) << "pinned, though no longer the fastest";
  EXPECT_TRUE(Times(library, 32)) << "a range that the file does not have";
  EXPECT_TRUE(logged_.empty());
}

TEST_F(LtTuningTest, TimesAnewForAnotherDriver) {
  TuneAndSave(64);
  std::string text = Read();
  const std::string device = *TuningDevice();
  const TunedAlgorithms known = *ParseTuning(text, device);
  const size_t at = device.find("driver");
  folder_.Write("tuning", FormatTuning(known, device.substr(0, at) + "driver 12080" +
                                                  device.substr(device.find(',', at))));
  LtMatMul library = *LtMatMul::Create(path_);
  EXPECT_TRUE(Times(library, 64));
  library.Seal();
  EXPECT_EQ(logged_.size(), 1u);
  EXPECT_TRUE(ParseTuning(Read(), device).ok()) << "the file is replaced";
}

TEST_F(LtTuningTest, TimesAnewWhereTheLibraryRefusesWhatTheFileSays) {
  TuneAndSave(64);
  const std::string device = *TuningDevice();
  TunedAlgorithms known = *ParseTuning(Read(), device);
  ASSERT_EQ(known.size(), 1u);
  known.begin()->second.algorithm.data[0] ^= 1 << 20;
  folder_.Write("tuning", FormatTuning(known, device));
  LtMatMul library = *LtMatMul::Create(path_);
  EXPECT_TRUE(Times(library, 64));
  library.Seal();
  LtMatMul next = *LtMatMul::Create(path_);
  EXPECT_FALSE(Times(next, 64));
}

// And asks for a suggestion once per range, not per row count.
TEST_F(LtTuningTest, ASealedLibraryTimesNothing) {
  LtMatMul library = *LtMatMul::Create(path_);
  library.Seal();
  rig_.ExpectProduct(library, 50);
  rig_.ExpectProduct(library, 60);
  const emulator::MatmulCalls calls = TakeMatmulCalls();
  EXPECT_EQ(calls.heuristics, 1);
  EXPECT_EQ(calls.products, 2);
  EXPECT_EQ(calls.last_algorithm, 0);
  EXPECT_EQ(Read(), "") << "nothing was tuned";
}

TEST_F(LtTuningTest, TheFileIsWrittenBySealOnly) {
  LtMatMul library = *LtMatMul::Create(path_);
  EXPECT_TRUE(Times(library, 64));
  EXPECT_EQ(Read(), "");
  library.Seal();
  EXPECT_NE(Read(), "");
}

TEST_F(LtTuningTest, AFileThatCannotBeWrittenIsNoError) {
  LtMatMul library = *LtMatMul::Create(folder_.path() + "/missing/tuning");
  EXPECT_TRUE(Times(library, 64));
  library.Seal();
  EXPECT_EQ(logged_.size(), 1u);
  EXPECT_FALSE(Times(library, 64));
}

TEST_F(LtTuningTest, WhatTheScratchDoesNotHoldIsNotTimed) {
  const LtRig small(40);
  LtMatMul library = *LtMatMul::Create();
  TakeMatmulCalls();
  EXPECT_TRUE(small.Tune(library, 41).ok());
  EXPECT_EQ(TakeMatmulCalls().products, 0);
  EXPECT_TRUE(small.Tune(library, 40).ok()) << "less than the range's 64";
  EXPECT_GT(TakeMatmulCalls().products, 1);
}

TEST_F(LtTuningTest, ADeviceErrorWhileTimingIsReported) {
  LtMatMul library = *LtMatMul::Create();
  emulator::FailNextWait(cudaErrorIllegalAddress);
  EXPECT_EQ(rig_.Tune(library, 64).code(), absl::StatusCode::kInternal);
}

TEST_F(LtTuningTest, DeviceBytesCountsTheScratch) {
  const ModelShape shape{
      .num_layers = 1, .hidden = 64, .heads = 1, .kv_heads = 1, .head_dim = 64, .ffn = 96};
  for (const int max_rows : {1, 17, 3000}) {
    size_t before, after, total;
    cudaMemGetInfo(&before, &total);
    const RowProducts products = *RowProducts::Create(shape, {.max_rows = max_rows});
    cudaMemGetInfo(&after, &total);
    EXPECT_EQ(static_cast<int64_t>(before - after), RowProducts::DeviceBytes(shape, max_rows));
    int cache = 0;
    cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, 0);
    EXPECT_GE(RowProducts::DeviceBytes(shape, max_rows), cache);
  }
}

}  // namespace
}  // namespace skipstone::cuda
