// Decode and prefill attention over scattered pages against double-precision loops over what each
// row sees. Whatever no row sees is NaN, and pages of which none sees a token are not there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/cuda/kernels/stage_kernels.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

constexpr int kSlots = 3;
constexpr int kContext = 512;
constexpr int kPageTokens = 8;
constexpr int kBlocks = kContext / kPageTokens;
constexpr int kLayers = 2;
constexpr int kLayer = 1;             // the one that attends
constexpr int kOtherWindow = 32;      // of the other one
constexpr int32_t kNoPage = 1 << 24;  // far outside the pages

struct Shape {
  int heads;
  int kv_heads;
  int head_dim;
  int q_size() const { return heads * head_dim; }
  int qkv_size() const { return (heads + 2 * kv_heads) * head_dim; }
  size_t page() const { return size_t{2} * kv_heads * kPageTokens * head_dim; }
};

// A run of rows of one slot.
struct Chunk {
  int slot;
  int first;  // position
  int count;
  int window = 0;
  int silent = 0;  // so many of the first rows do not attend
};

struct Row {
  int slot;
  int position;
  int window;
  bool attends;
};

class AttentionKernelsTest : public KernelTest {
 protected:
  void Run(const Shape& shape, const std::vector<Chunk>& chunks, int target_items = 4,
           int sink = 16) {
    shape_ = shape;
    sink_ = sink;
    MakeRows(chunks);
    MakePages();
    const StepHeader* step = UploadRows(chunks, target_items);
    const Numbers qkv(type(), rows_.size() * shape.qkv_size(), 5);
    const std::vector<uint16_t> out = Launch(step, qkv, target_items);
    std::vector<float> actual;
    std::vector<double> expected;
    for (size_t r = 0; r < rows_.size(); ++r) {
      if (!rows_[r].attends) continue;
      for (int i = 0; i < shape.q_size(); ++i) {
        actual.push_back(ToFloatOf(type(), out[r * shape.q_size() + i]));
      }
      for (int h = 0; h < shape.heads; ++h) {
        AppendReference(rows_[r], h, &qkv.values[r * shape.qkv_size() + h * shape.head_dim],
                        expected);
      }
    }
    // Weights and result are rounded once each.
    ExpectClose("attention", actual, expected, shape.q_size(), 2 * rounding());
  }

 private:
  void MakeRows(const std::vector<Chunk>& chunks) {
    rows_.clear();
    for (const Chunk& chunk : chunks) {
      for (int i = 0; i < chunk.count; ++i) {
        rows_.push_back({chunk.slot, chunk.first + i, chunk.window, i >= chunk.silent});
      }
    }
  }

  bool Sees(const Row& row, int position) const {
    return position <= row.position &&
           (row.window == 0 || position < sink_ || row.position - position < row.window);
  }

  // Of the layer that attends; the other one has no page.
  void MakePages() {
    const int num_pages = kSlots * kBlocks;
    pages_ = Numbers(type(), num_pages * shape_.page(), 6);
    std::vector<int32_t> order(num_pages);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    table_.assign(kSlots * kLayers * kBlocks, kNoPage);
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int p = 0; p < kContext; ++p) {
        const auto sees = [&](const Row& row) {
          return row.slot == slot && row.attends && Sees(row, p);
        };
        const int page = order[slot * kBlocks + p / kPageTokens];
        if (std::ranges::any_of(rows_, sees)) {
          table_[(slot * kLayers + kLayer) * kBlocks + p / kPageTokens] = page;
          continue;
        }
        for (int head = 0; head < 2 * shape_.kv_heads; ++head) {
          std::fill_n(pages_.bits.begin() + TokenAt(page, p, head), shape_.head_dim, 0xffff);
        }
      }
    }
  }

  const StepHeader* UploadRows(const std::vector<Chunk>& chunks, int target_items) {
    std::vector<int32_t> positions, slots, sets, windows, attending;
    std::vector<RowRun> runs;
    for (const Chunk& chunk : chunks) {
      runs.push_back({static_cast<int32_t>(positions.size()), chunk.count});
      const auto set = static_cast<int32_t>(windows.size()) / kLayers;
      windows.insert(windows.end(), {kOtherWindow, chunk.window});
      for (int i = 0; i < chunk.count; ++i) {
        if (i >= chunk.silent) attending.push_back(static_cast<int32_t>(positions.size()));
        positions.push_back(chunk.first + i);
        slots.push_back(chunk.slot);
        sets.push_back(set);
      }
    }
    const auto count = static_cast<int32_t>(attending.size());
    const bool is_range = attending.back() - attending.front() == count - 1;
    const RowList list{attending.front(), count, is_range ? nullptr : attending.data()};
    const std::vector<LayerRows> layers(kLayers, LayerRows{list, list, list});
    if (std::ranges::none_of(rows_, [](const Row& row) { return row.window > 0; })) windows = {};
    return Upload({.num_layers = kLayers, .vocab = 8},
                  {.tokens = positions,
                   .positions = positions,
                   .slots = slots,
                   .layers = layers,
                   .runs = runs,
                   .sets = sets,
                   .windows = windows,
                   .sink_tokens = sink_},
                  target_items);
  }

  std::vector<uint16_t> Launch(const StepHeader* step, const Numbers& qkv, int target_items) {
    const DeviceArray<uint16_t> pages(pages_.bits);
    const DeviceArray<int32_t> table(table_);
    const DeviceArray<uint16_t> queries(qkv.bits);
    const DeviceArray<uint16_t> out(Poison16(rows_.size() * shape_.q_size()));
    const int partials = 2 * target_items * shape_.heads;
    const DeviceArray<float> values(std::vector<float>(partials * shape_.head_dim));
    const DeviceArray<float2> states(std::vector<float2>(partials, float2{}));
    const DeviceArray<int32_t> arrived(std::vector<int32_t>(partials, 0));
    const StepHeader& header = upload_.host_header();
    const AttentionArgs args{
        .step = step,
        .layer = kLayer,
        .heads = {shape_.heads, shape_.kv_heads, shape_.head_dim},
        .pages = {pages.get(), table.get(), kLayers, kBlocks, 3, shape_.kv_heads, shape_.head_dim},
        .type = type(),
        .qkv = queries.get(),
        .attended = out.get(),
        .partial_values = values.get(),
        .partial_states = states.get(),
        .arrived = arrived.get()};
    const int items = header.PlanOf(kLayer).count;
    EXPECT_EQ(LaunchDecodeAttention(args, items + 1, stream_.get()), cudaSuccess);
    EXPECT_EQ(LaunchPrefillAttention(args, header.num_prefill_tiles, stream_.get()), cudaSuccess);
    EXPECT_EQ(arrived.Read(), std::vector<int32_t>(partials, 0));
    return out.Read();
  }

  // `head` counts the K heads, then the V heads.
  size_t TokenAt(size_t page, int position, int head) const {
    return page * shape_.page() +
           (static_cast<size_t>(head) * kPageTokens + position % kPageTokens) * shape_.head_dim;
  }

  void AppendReference(const Row& row, int head, const float* q, std::vector<double>& out) const {
    const int kv = head / (shape_.heads / shape_.kv_heads);
    std::vector<double> sum(shape_.head_dim);
    double total = 0;
    for (int p = 0; p <= row.position; ++p) {
      if (!Sees(row, p)) continue;
      const size_t page = table_[(row.slot * kLayers + kLayer) * kBlocks + p / kPageTokens];
      const float* k = &pages_.values[TokenAt(page, p, kv)];
      const float* v = &pages_.values[TokenAt(page, p, shape_.kv_heads + kv)];
      double dot = 0;
      for (int i = 0; i < shape_.head_dim; ++i) dot += double{q[i]} * k[i];
      const double weight = std::exp(dot / std::sqrt(shape_.head_dim));
      total += weight;
      for (int i = 0; i < shape_.head_dim; ++i) sum[i] += weight * v[i];
    }
    for (const double x : sum) out.push_back(x / total);
  }

  Shape shape_ = {};
  int sink_ = 0;
  std::vector<Row> rows_;
  Numbers pages_{DType::kBF16, 0, 0};
  std::vector<int32_t> table_;  // [slot][layer][block]
};

const Shape kShapes[] = {{2, 2, 64}, {4, 2, 128}, {5, 1, 64}, {8, 2, 128}};
const Shape kSmall = kShapes[0];

TEST_P(AttentionKernelsTest, DecodesWholeAndSplitRows) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.heads << "/" << shape.kv_heads);
    Run(shape, {{0, 0, 1}, {1, 130, 1}, {2, 511, 1}}, 1);
    Run(shape, {{0, 0, 1}, {1, 130, 1}, {2, 511, 1}}, 7);
  }
}

TEST_P(AttentionKernelsTest, PrefillsChunksThatBeginAnywhere) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.heads << "/" << shape.kv_heads);
    Run(shape, {{0, 0, 2}, {1, 37, 65}, {2, 448, 64}});
  }
}

TEST_P(AttentionKernelsTest, MixesPrefillAndDecode) {
  Run(kSmall, {{0, 300, 1}, {1, 0, 130}, {2, 511, 1}});
}

// A full row that is split beside windowed ones; windowed rows that are split across their gap.
TEST_P(AttentionKernelsTest, DecodesRowsWithAndWithoutWindows) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.heads << "/" << shape.kv_heads);
    Run(shape, {{0, 511, 1}, {1, 509, 1, 64}, {2, 300, 1, 16}});
    Run(shape, {{0, 511, 1, 304}, {1, 400, 1, 200}, {2, 130, 1, 64}}, 7);
  }
}

// The window begins at the sink's end, a position before it and one behind it, ...
TEST_P(AttentionKernelsTest, DecodesWhereAGapBegins) {
  for (const int sink : {16, 3, 0}) {
    SCOPED_TRACE(testing::Message() << "sink " << sink);
    for (const int window : {16, 24}) {
      const int last = sink + window - 1;  // that sees all
      Run(kSmall, {{0, last - 1, 1, window}, {1, last, 1, window}, {2, last + 1, 1, window}}, 4,
          sink);
    }
  }
}

// ... and the same of rows in one tile.
TEST_P(AttentionKernelsTest, PrefillsWhereAGapBegins) {
  for (const int sink : {16, 3, 0}) {
    SCOPED_TRACE(testing::Message() << "sink " << sink);
    const int last = sink + 16 - 1;
    Run(kSmall, {{0, 0, 80, 16}, {1, last, 40, 16}, {2, last + 1, 2, 16}}, 4, sink);
  }
}

// Windows narrower and wider than a tile of rows, key tiles of which a row sees nothing, all beside
// full rows; and a decode row.
TEST_P(AttentionKernelsTest, PrefillsRowsWithAndWithoutWindows) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.heads << "/" << shape.kv_heads);
    Run(shape, {{0, 200, 64, 16}, {1, 37, 65}, {2, 381, 70, 96}});
  }
  Run(kSmall, {{0, 301, 100, 16}, {1, 448, 64, 200}, {2, 511, 1, 64}}, 4, 0);
}

// What only silent rows would see is not there either: at the front of a run, and in a list by
// index.
TEST_P(AttentionKernelsTest, LeavesOutWhatOnlySilentRowsSee) {
  Run(kSmall, {{0, 200, 60, 16, 31}});
  Run(kSmall, {{0, 200, 60, 16, 31}, {1, 300, 90, 24, 70}, {2, 450, 1, 64}});
}

INSTANTIATE_TEST_SUITE_P(Types, AttentionKernelsTest, testing::Values(DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace skipstone::cuda
