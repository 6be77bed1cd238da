// Logits are bitwise independent of everything but the sequence: of the batch, its windows and its
// maps, of chunks, of threads, of row lists and of pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "engine/cpu/cpu_backend.h"
#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"

namespace skipstone {
namespace {

constexpr int kTokens = 150;  // of each sequence: more than two attention blocks

// Odd inputs, more rows than one block of the product kernel, grouped heads.
ModelShape Shape() {
  return {.num_layers = 2,
          .hidden = 88,
          .heads = 6,
          .kv_heads = 2,
          .head_dim = 24,
          .ffn = 1100,
          .vocab = 150,
          .max_context = 256};
}

int32_t TokenAt(int slot, int position) { return (slot * 37 + position * 11 + 5) % 140; }

struct Model {
  DType type = DType::kF32;
  bool windows = false;  // sequence 0 has some
  bool maps = false;     // sequence 0 has some
};

// Others have windows where sequence 0 has none, and other ones.
int WindowOf(bool windows, int slot, int layer) {
  constexpr int kWindows[][2] = {{0, 0}, {64, 24}, {40, 0}, {0, 16}};
  return kWindows[(slot + windows) % 4][layer];
}

// As with windows. Of four sequences one runs all, and each other one has a map in place of
// attention 0 and one in place of MLP 1.
StageUse UseOf(bool maps, int slot, int layer) {
  const int map = (slot + maps) % 4 - 1;
  if (map < 0) return {};
  if (layer == 0) return {false, false, true, map, -1};
  return {true, true, false, -1, (map + 1) % 3};
}
const std::vector<StageMapForm> kMaps = {
    {.bias = true, .scale = true}, {.bias = true, .rank = 3}, {.full = true}};

struct Way {
  int threads = 1;
  int page_tokens = 16;
  int sequences = 1;
  int chunk = kTokens;  // rows of one sequence in one step
  bool index_lists = false;
  bool all_logits = true;
};

// Logits of sequence 0 by position, under one way of running it.
class Runner {
 public:
  Runner(const StageModel& model, const Model& runs, const Way& way) : runs_(runs), way_(way) {
    auto backend =
        MakeCpuBackend(model.shape, {.threads = way.threads, .memory_bytes = int64_t{1} << 30});
    SKIPSTONE_CHECK(backend.ok());
    backend_ = *std::move(backend);
    driver_ = std::make_unique<StageDriver>(model, *backend_,
                                            StepLimits{.max_rows = 1000,
                                                       .max_logits_rows = 1000,
                                                       .max_slots = 6,
                                                       .page_tokens = way.page_tokens,
                                                       .num_pages = 4000});
  }

  std::map<int, std::vector<TokenLogprob>> Run() {
    std::map<int, std::vector<TokenLogprob>> out;
    for (int first = 0; first < kTokens; first += way_.chunk) {
      const StageStep step = MakeStep(first, std::min(kTokens, first + way_.chunk));
      std::vector<LogitsResult> results = driver_->Run(step);
      for (size_t i = 0; i < results.size(); ++i) {
        const StageRow& row = step.rows[i];
        if (row.slot == 0) out[row.position] = std::move(results[i].top);
      }
    }
    return out;
  }

 private:
  StageStep MakeStep(int first, int end) const {
    StageStep step;
    step.index_lists = way_.index_lists;
    step.window = [this](int slot, int layer) { return WindowOf(runs_.windows, slot, layer); };
    // Sequence 0 comes last, so that its rows fall elsewhere in the tiles.
    for (int slot = way_.sequences - 1; slot >= 0; --slot) {
      for (int p = first; p < end; ++p) step.rows.push_back({slot, p, TokenAt(slot, p), true});
    }
    if (!way_.all_logits) {
      for (StageRow& row : step.rows) row.logits = row.position == end - 1;
      std::stable_sort(step.rows.begin(), step.rows.end(),
                       [](const StageRow& a, const StageRow& b) { return a.logits > b.logits; });
    }
    step.use = [this, rows = step.rows](int row, int layer) {
      return UseOf(runs_.maps, rows[row].slot, layer);
    };
    return step;
  }

  const Model runs_;
  const Way way_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StageDriver> driver_;
};

class InvarianceTest : public testing::TestWithParam<Model> {
 protected:
  InvarianceTest()
      : model_(WithMaps(GetParam().type)), expected_(Runner(*model_, GetParam(), Way{}).Run()) {}

  static std::unique_ptr<StageModel> WithMaps(DType type) {
    auto model = std::make_unique<StageModel>(Shape(), type);
    model->AddMaps(kMaps);
    return model;
  }

  void ExpectSameBits(const Way& way) {
    const auto actual = Runner(*model_, GetParam(), way).Run();
    ASSERT_FALSE(actual.empty());
    for (const auto& [position, top] : actual) {
      const std::vector<TokenLogprob>& expected = expected_.at(position);
      ASSERT_EQ(top.size(), expected.size());
      ASSERT_EQ(top.size(), Shape().vocab);
      ASSERT_EQ(std::memcmp(top.data(), expected.data(), top.size() * sizeof(top[0])), 0)
          << "position " << position;
    }
  }

  const std::unique_ptr<const StageModel> model_;
  const std::map<int, std::vector<TokenLogprob>> expected_;
};

TEST_P(InvarianceTest, OneRowAtATime) { ExpectSameBits({.chunk = 1}); }

TEST_P(InvarianceTest, AnyChunk) {
  for (const int chunk : {2, 3, 5, 7, 13, 29, 64, 65, 100}) {
    SCOPED_TRACE(testing::Message() << "chunk " << chunk);
    ExpectSameBits({.chunk = chunk});
  }
}

TEST_P(InvarianceTest, AnyBatch) {
  for (int sequences = 2; sequences <= 6; ++sequences) {
    SCOPED_TRACE(testing::Message() << sequences << " sequences");
    ExpectSameBits({.sequences = sequences, .chunk = 1});
    ExpectSameBits({.sequences = sequences, .chunk = 31});
    ExpectSameBits({.sequences = sequences});
  }
}

TEST_P(InvarianceTest, AnyNumberOfThreads) {
  for (const int threads : {2, 3, 8}) {
    SCOPED_TRACE(testing::Message() << threads << " threads");
    ExpectSameBits({.threads = threads});
    ExpectSameBits({.threads = threads, .sequences = 3, .chunk = 1});
  }
}

TEST_P(InvarianceTest, IndexListsOrRanges) {
  ExpectSameBits({.index_lists = true});
  ExpectSameBits({.sequences = 4, .chunk = 9, .index_lists = true});
}

TEST_P(InvarianceTest, AnyPageSize) {
  for (const int page_tokens : {1, 4, 32, 100}) {
    SCOPED_TRACE(testing::Message() << "page_tokens " << page_tokens);
    ExpectSameBits({.page_tokens = page_tokens, .chunk = 50});
  }
}

TEST_P(InvarianceTest, RowsOfOneSequenceInAnyOrderOfLogits) {
  ExpectSameBits({.sequences = 3, .chunk = 40, .all_logits = false});
}

INSTANTIATE_TEST_SUITE_P(Types, InvarianceTest,
                         testing::Values(Model{DType::kF32}, Model{DType::kF16},
                                         Model{DType::kBF16}, Model{DType::kF32, true},
                                         Model{DType::kBF16, false, true}),
                         [](const auto& info) {
                           return std::string(NameOf(info.param.type)) +
                                  (info.param.windows ? "Windows" : "") +
                                  (info.param.maps ? "Maps" : "");
                         });

}  // namespace
}  // namespace skipstone
