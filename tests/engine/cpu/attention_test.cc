#include "engine/cpu/attention.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "engine/skip/skip_set.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

using Part = PageStore::Part;

constexpr int kLayer = 1;  // of two: the other has neither pages nor windows that are of use
constexpr int kContext = 400;
constexpr int kSlots = 5;

struct Heads {
  int heads, kv_heads, head_dim;
};

// Of each slot, in positions; 0: none.
struct Windows {
  std::array<int, kSlots> tokens = {};
  int sink_tokens = kSinkTokens;
};

// Random K and V of the positions that a row of the slot sees, NaN in the rest of their pages; the
// other blocks share a page that cannot even be read. Random queries.
class Rig {
 public:
  Rig(const Heads& heads, int page_tokens, int threads, std::vector<std::pair<int, int>> rows,
      const Windows& windows = {})
      : shape_{.num_layers = 2,
               .heads = heads.heads,
               .kv_heads = heads.kv_heads,
               .head_dim = heads.head_dim,
               .max_context = kContext},
        windows_(windows),
        pool_(threads),
        attention_(shape_, pool_),
        rows_(std::move(rows)),
        queries_(static_cast<int64_t>(rows_.size()), shape_.q_size()) {
    for (size_t r = 0; r < rows_.size(); ++r) {
      slots_.push_back(rows_[r].first);
      positions_.push_back(rows_[r].second);
      before_.push_back(RandomFloats(shape_.q_size(), 1000 + 7 * rows_[r].second, 2.0f));
      std::copy(before_[r].begin(), before_[r].end(), queries_.row(r));
    }
    MakePages(page_tokens);
    FillPages();
  }

  // Runs the rows of the list.
  void Run(const RowList& list) {
    const LayerRows layers[2];
    // Layer 0's windows are too small to be mistaken for these.
    std::vector<int32_t> tokens;
    for (const int window : windows_.tokens) tokens.insert(tokens.end(), {1, window});
    attention_.Run({.positions = positions_,
                    .slots = slots_,
                    .layers = layers,
                    .sets = slots_,
                    .windows = tokens,
                    .sink_tokens = windows_.sink_tokens},
                   list, kLayer, pages_, queries_);
  }
  void RunAll() { Run(All()); }

  // Runs and compares: rows of the list hold their attention, the others their query.
  void Check(const RowList& list) {
    Run(list);
    std::vector<bool> listed(rows_.size());
    for (int i = 0; i < list.count; ++i) listed[list[i]] = true;
    for (size_t r = 0; r < rows_.size(); ++r) {
      for (int h = 0; h < shape_.heads; ++h) {
        const std::vector<double> expected = listed[r] ? Expected(r, h) : Query(r, h);
        for (int d = 0; d < shape_.head_dim; ++d) {
          ASSERT_NEAR(queries_.row(r)[h * shape_.head_dim + d], expected[d], 2e-5)
              << "row " << r << " at " << positions_[r] << " head " << h << " dim " << d;
        }
      }
    }
  }
  void CheckAll() { Check(All()); }

  std::vector<float> Result(size_t row) const {
    return {queries_.row(row), queries_.row(row) + shape_.q_size()};
  }

 private:
  RowList All() const { return {.begin = 0, .count = static_cast<int32_t>(rows_.size())}; }

  bool Sees(size_t row, int position) const {
    const int window = windows_.tokens[slots_[row]];
    const int back = positions_[row] - position;
    return back >= 0 && (window == 0 || back < window || position < windows_.sink_tokens);
  }
  bool Seen(int slot, int position) const {
    for (size_t r = 0; r < rows_.size(); ++r) {
      if (slots_[r] == slot && Sees(r, position)) return true;
    }
    return false;
  }

  void MakePages(int page_tokens) {
    const int blocks = (kContext + page_tokens - 1) / page_tokens;
    const StepLimits limits{
        .max_slots = kSlots, .page_tokens = page_tokens, .num_pages = kSlots * blocks + 1};
    ASSERT_TRUE(pages_.Allocate(shape_, limits).ok());
    std::vector<int32_t> order(limits.num_pages - 1);
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i + 1);
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    constexpr int32_t kHole = 0;
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int block = 0; block < blocks; ++block) {
        bool seen = false;
        for (int i = 0; i < page_tokens; ++i) seen |= Seen(slot, block * page_tokens + i);
        const int32_t page = seen ? order[slot * blocks + block] : kHole;
        pages_.Update(std::vector<PageUpdate>{{slot, 0, block, kHole}, {slot, 1, block, page}});
      }
    }
    const int64_t bytes = PageStore::PageBytes(shape_, page_tokens) / getpagesize() * getpagesize();
    ASSERT_EQ(mprotect(pages_.Token(0, 0, 0, Part::kKey, 0), bytes, PROT_NONE), 0);
  }

  void FillPages() {
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int position = 0; position < kContext; ++position) {
        const float* hole = pages_.Token(slot, 0, position, Part::kKey, 0);
        if (pages_.Token(slot, kLayer, position, Part::kKey, 0) == hole) continue;
        const bool seen = Seen(slot, position);
        const uint64_t seed = slot * kContext + position;
        const std::vector<float> values =
            seen ? RandomFloats(2 * shape_.kv_size(), seed)
                 : std::vector<float>(2 * shape_.kv_size(), std::nanf(""));
        auto from = values.begin();
        for (int h = 0; h < shape_.kv_heads; ++h) {
          for (const Part part : {Part::kKey, Part::kValue}) {
            std::copy_n(from, shape_.head_dim, pages_.Token(slot, kLayer, position, part, h));
            from += shape_.head_dim;
          }
        }
      }
    }
  }

  std::vector<double> Query(size_t row, int head) const {
    const auto first = before_[row].begin() + head * shape_.head_dim;
    return {first, first + shape_.head_dim};
  }

  std::vector<double> Expected(size_t row, int head) const {
    const int kv_head = head / (shape_.heads / shape_.kv_heads);
    const std::vector<double> q = Query(row, head);
    std::vector<double> weights;
    double max = -std::numeric_limits<double>::infinity();
    std::vector<int> seen;
    for (int p = 0; p <= positions_[row]; ++p) {
      if (Sees(row, p)) seen.push_back(p);
    }
    for (const int p : seen) {
      const float* k = pages_.Token(slots_[row], kLayer, p, Part::kKey, kv_head);
      double dot = 0;
      for (int d = 0; d < shape_.head_dim; ++d) dot += q[d] * k[d];
      weights.push_back(dot / std::sqrt(shape_.head_dim));
      max = std::max(max, weights.back());
    }
    double sum = 0;
    for (double& w : weights) sum += w = std::exp(w - max);
    std::vector<double> out(shape_.head_dim);
    for (size_t i = 0; i < seen.size(); ++i) {
      const float* v = pages_.Token(slots_[row], kLayer, seen[i], Part::kValue, kv_head);
      for (int d = 0; d < shape_.head_dim; ++d) out[d] += weights[i] / sum * v[d];
    }
    return out;
  }

  const ModelShape shape_;
  const Windows windows_;
  ThreadPool pool_;
  Attention attention_;
  PageStore pages_;
  std::vector<std::pair<int, int>> rows_;  // {slot, position}
  std::vector<int32_t> slots_;
  std::vector<int32_t> positions_;
  std::vector<std::vector<float>> before_;
  Matrix queries_;
};

std::vector<std::pair<int, int>> Prompt(int slot, int first, int count) {
  std::vector<std::pair<int, int>> rows;
  for (int i = 0; i < count; ++i) rows.push_back({slot, first + i});
  return rows;
}

// Contexts that end before, at and behind the end of a block of 64 keys, and the longest.
const std::vector<std::pair<int, int>> kDecodes = {{0, 0}, {1, 63}, {2, 64}, {3, 127}, {4, 399}};

TEST(AttentionTest, DecodesOverEveryLength) {
  for (const int last : {1, 2, 61, 62, 63, 64, 65, 126, 127, 128, 129, 255, 256, 398, 399}) {
    Rig({4, 2, 16}, 16, 2, {{2, last}}).CheckAll();
  }
}

TEST(AttentionTest, ServesGroupsAndHeadSizes) {
  for (const Heads& heads :
       {Heads{1, 1, 8}, {4, 4, 24}, {6, 2, 40}, {8, 1, 64}, {64, 1, 8}, {2, 2, 128}}) {
    SCOPED_TRACE(testing::Message()
                 << heads.heads << ":" << heads.kv_heads << "x" << heads.head_dim);
    Rig(heads, 16, 2, kDecodes).CheckAll();
    Rig(heads, 16, 2, Prompt(1, 50, 40)).CheckAll();
  }
}

TEST(AttentionTest, PageSizesAreInvisible) {
  for (const int page_tokens : {1, 5, 16, 64, 100, 512}) {
    SCOPED_TRACE(testing::Message() << "page_tokens " << page_tokens);
    Rig({4, 2, 16}, page_tokens, 2, kDecodes).CheckAll();
    Rig({4, 2, 16}, page_tokens, 2, Prompt(3, 0, 70)).CheckAll();
  }
}

// More rows than share a block of keys, of several sequences, in no order of position.
TEST(AttentionTest, RowsSeeNoLaterPositionOfTheirOwnAndNoOtherSequence) {
  std::vector<std::pair<int, int>> rows{{0, 130}, {1, 3}};
  for (const auto& more : {Prompt(0, 60, 70), Prompt(2, 0, 25), Prompt(1, 0, 3), Prompt(0, 0, 2)}) {
    rows.insert(rows.end(), more.begin(), more.end());
  }
  for (const int threads : {1, 3}) Rig({6, 2, 24}, 16, threads, rows).CheckAll();
}

TEST(AttentionTest, TakesTheRowsOfTheListAlone) {
  const auto rows = Prompt(0, 0, 60);
  Rig({4, 2, 16}, 16, 2, rows).Check({.begin = 7, .count = 31});
  std::vector<int32_t> index;
  for (int i = 0; i < 60; i += 1 + i % 3) index.push_back(i);
  Rig({4, 2, 16}, 16, 2, rows)
      .Check({.count = static_cast<int32_t>(index.size()), .index = index.data()});
  Rig({4, 2, 16}, 16, 2, rows).Check({});
}

// Around what can be an edge: of sink, window, both together, block and page.
TEST(AttentionTest, SeesSinkAndWindowAtEveryEdge) {
  for (int window = 16; window <= 128; window += 8) {
    SCOPED_TRACE(testing::Message() << "window " << window);
    std::vector<int> lasts = {0, kContext - 1};
    for (const int edge :
         {kSinkTokens, window, window + kSinkTokens, window + 32, window + 64, 64, 128, 192, 320}) {
      lasts.insert(lasts.end(), {edge - 1, edge, edge + 1});
    }
    lasts.resize((lasts.size() + kSlots - 1) / kSlots * kSlots, 255);
    for (size_t i = 0; i < lasts.size(); i += kSlots) {
      std::vector<std::pair<int, int>> rows;
      Windows windows;
      for (int slot = 0; slot < kSlots; ++slot) {
        rows.push_back({slot, lasts[i + slot]});
        windows.tokens[slot] = window;
      }
      for (const int page_tokens : {8, 16, 32})
        Rig({2, 1, 64}, page_tokens, 1, rows, windows).CheckAll();
    }
  }
}

// Prompts that begin anywhere; rows of one slot that follow each other in a list, not in position.
TEST(AttentionTest, WindowsServeGroupsAndPages) {
  const Windows windows{{64, 16, 0, 40, 128}};
  auto rows = Prompt(0, 0, 150);
  for (const auto& more : {Prompt(1, 0, 16),
                           Prompt(1, 117, 70),
                           Prompt(1, 300, 3),
                           Prompt(1, 250, 3),
                           Prompt(2, 30, 40),
                           Prompt(3, 200, 90),
                           {{4, 399}, {3, 399}}}) {
    rows.insert(rows.end(), more.begin(), more.end());
  }
  for (const Heads& heads : {Heads{2, 2, 32}, {4, 1, 64}, {6, 2, 32}, {64, 1, 64}, {6, 2, 24}}) {
    for (const int page_tokens : {8, 16, 32}) {
      SCOPED_TRACE(testing::Message() << heads.heads << ":" << heads.kv_heads << "x"
                                      << heads.head_dim << ", page_tokens " << page_tokens);
      Rig(heads, page_tokens, page_tokens == 16 ? 1 : 3, rows, windows).CheckAll();
    }
  }
}

// Also none, less and more than a block of keys, and one that every window reaches.
TEST(AttentionTest, AnySinkIsHeeded) {
  for (const int sink_tokens : {0, 1, 40, 64, 90, 400}) {
    SCOPED_TRACE(testing::Message() << "sink " << sink_tokens);
    const Windows windows{{24, 24, 24, 24, 24}, sink_tokens};
    Rig({4, 2, 32}, 8, 2, Prompt(0, 0, 190), windows).CheckAll();
    Rig({4, 2, 32}, 8, 2, {{0, 150}, {1, 10}, {2, 399}, {3, 64}, {4, 110}}, windows).CheckAll();
  }
}

// Not even the page table is read between sink and window: 16 million positions would take 80 ms.
TEST(AttentionTest, AWindowCostsTheSameAtAnyPosition) {
  constexpr int kFar = 1 << 24;
  constexpr int kPageTokens = 8;
  constexpr int32_t kWindow = 64;
  const ModelShape shape{
      .num_layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 8, .max_context = kFar};
  PageStore pages;
  ASSERT_TRUE(
      pages.Allocate(shape, {.max_slots = 1, .page_tokens = kPageTokens, .num_pages = 1}).ok());
  ThreadPool pool(1);
  Attention attention(shape, pool);
  Matrix q(1, shape.q_size());
  const auto seconds = [&](int32_t position) {
    const LayerRows layers[1];
    const int32_t zero = 0;
    const StepInput step{.positions = {&position, 1},
                         .slots = {&zero, 1},
                         .layers = layers,
                         .sets = {&zero, 1},
                         .windows = {&kWindow, 1},
                         .sink_tokens = kSinkTokens};
    double least = 1;
    for (int i = 0; i < 20; ++i) {
      timespec begin, end;
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
      attention.Run(step, {.count = 1}, 0, pages, q);
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
      least = std::min(least, (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) * 1e-9);
    }
    return least;
  };
  EXPECT_LT(seconds(kFar - 1), 50 * seconds(200));
}

// To the bit: of other rows, of where a list is cut, and of the threads.
TEST(AttentionTest, ARowWithAWindowDependsOnNothingElse) {
  const Windows windows{{64, 24, 0, 0, 0}};
  auto rows = Prompt(0, 0, 200);
  const auto others = Prompt(1, 60, 70);
  rows.insert(rows.end(), others.begin(), others.end());
  Rig all({6, 2, 32}, 16, 3, rows, windows);
  all.RunAll();
  for (size_t r = 0; r < rows.size(); r += r % 64 < 60 ? 7 : 1) {
    Rig alone({6, 2, 32}, 8, 1, {rows[r]}, windows);
    alone.RunAll();
    ASSERT_EQ(alone.Result(0), all.Result(r))
        << "slot " << rows[r].first << " at " << rows[r].second;
  }
}

TEST(AttentionTest, AWindowThatReachesTheSinkIsNone) {
  const auto rows = Prompt(0, 0, 144);
  Rig windowed({4, 2, 32}, 16, 1, rows, {{128}});
  Rig full({4, 2, 32}, 16, 1, rows);
  windowed.RunAll();
  full.RunAll();
  for (size_t r = 0; r < rows.size(); ++r) ASSERT_EQ(windowed.Result(r), full.Result(r)) << r;
}

}  // namespace
}  // namespace skipstone
