#include "engine/cpu/attention.h"

#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

using Part = PageStore::Part;

constexpr int kLayer = 1;  // of two: the other's pages hold NaN
constexpr int kContext = 400;
constexpr int kSlots = 5;

struct Heads {
  int heads, kv_heads, head_dim;
};

// Pages of random K and V up to each slot's last position and NaN behind it; random queries.
class Rig {
 public:
  Rig(const Heads& heads, int page_tokens, int threads, std::vector<std::pair<int, int>> rows)
      : shape_{.num_layers = 2,
               .heads = heads.heads,
               .kv_heads = heads.kv_heads,
               .head_dim = heads.head_dim,
               .max_context = kContext},
        pool_(threads),
        attention_(shape_, pool_),
        rows_(std::move(rows)),
        queries_(static_cast<int64_t>(rows_.size()), shape_.q_size()) {
    const int blocks = (kContext + page_tokens - 1) / page_tokens;
    const StepLimits limits{
        .max_slots = kSlots, .page_tokens = page_tokens, .num_pages = 2 * kSlots * blocks};
    EXPECT_TRUE(pages_.Allocate(shape_, limits).ok());
    std::vector<PageUpdate> updates;
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int layer = 0; layer < 2; ++layer) {
        for (int block = 0; block < blocks; ++block) updates.push_back({slot, layer, block, 0});
      }
    }
    std::vector<int32_t> order(updates.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    for (size_t i = 0; i < order.size(); ++i) updates[i].page = order[i];
    pages_.Update(updates);
    FillPages();
    for (size_t r = 0; r < rows_.size(); ++r) {
      slots_.push_back(rows_[r].first);
      positions_.push_back(rows_[r].second);
      before_.push_back(RandomFloats(shape_.q_size(), 1000 + r, 2.0f));
      std::copy(before_[r].begin(), before_[r].end(), queries_.row(r));
    }
  }

  // Runs the rows of the list and compares: they hold their attention, the others their query.
  void Check(const RowList& list) {
    attention_.Run({.positions = positions_, .slots = slots_}, list, kLayer, pages_, queries_);
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
  void CheckAll() { Check({.begin = 0, .count = static_cast<int32_t>(rows_.size())}); }

 private:
  void FillPages() {
    std::vector<int> last(kSlots, -1);
    for (const auto& [slot, position] : rows_) last[slot] = std::max(last[slot], position);
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int position = 0; position < kContext; ++position) {
        for (int h = 0; h < shape_.kv_heads; ++h) {
          for (const Part part : {Part::kKey, Part::kValue}) {
            const uint64_t seed =
                ((slot * kContext + position) * 64 + h) * 2 + (part == Part::kKey);
            std::vector<float> values = RandomFloats(shape_.head_dim, seed);
            if (position > last[slot]) values.assign(values.size(), std::nanf(""));
            std::copy(values.begin(), values.end(), pages_.Token(slot, kLayer, position, part, h));
            std::fill_n(pages_.Token(slot, 0, position, part, h), shape_.head_dim, std::nanf(""));
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
    for (int p = 0; p <= positions_[row]; ++p) {
      const float* k = pages_.Token(slots_[row], kLayer, p, Part::kKey, kv_head);
      double dot = 0;
      for (int d = 0; d < shape_.head_dim; ++d) dot += q[d] * k[d];
      weights.push_back(dot / std::sqrt(shape_.head_dim));
      max = std::max(max, weights.back());
    }
    double sum = 0;
    for (double& w : weights) sum += w = std::exp(w - max);
    std::vector<double> out(shape_.head_dim);
    for (int p = 0; p <= positions_[row]; ++p) {
      const float* v = pages_.Token(slots_[row], kLayer, p, Part::kValue, kv_head);
      for (int d = 0; d < shape_.head_dim; ++d) out[d] += weights[p] / sum * v[d];
    }
    return out;
  }

  const ModelShape shape_;
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

}  // namespace
}  // namespace skipstone
