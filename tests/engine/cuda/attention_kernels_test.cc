// Decode and prefill attention over scattered pages against double-precision loops.
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

struct Shape {
  int heads;
  int kv_heads;
  int head_dim;
  int q_size() const { return heads * head_dim; }
  int qkv_size() const { return (heads + 2 * kv_heads) * head_dim; }
  size_t page() const { return size_t{2} * kv_heads * kPageTokens * head_dim; }
};

class AttentionKernelsTest : public KernelTest {
 protected:
  // Rows of `runs` = {slot, first position, rows}; slot s holds kContext positions, of which those
  // behind the run are NaN.
  struct Chunk {
    int slot;
    int first;
    int count;
  };

  void Run(const Shape& shape, const std::vector<Chunk>& chunks, int target_items) {
    std::vector<int32_t> positions, slots;
    std::vector<RowRun> runs;
    std::vector<int> stored(kSlots, 0);
    for (const Chunk& chunk : chunks) {
      runs.push_back({static_cast<int32_t>(positions.size()), chunk.count});
      for (int i = 0; i < chunk.count; ++i) {
        positions.push_back(chunk.first + i);
        slots.push_back(chunk.slot);
      }
      stored[chunk.slot] = chunk.first + chunk.count;
    }
    const int rows = static_cast<int>(positions.size());
    const RowList all{.begin = 0, .count = rows};
    const LayerRows layers[] = {{all, all, all}};
    const StepHeader* step = Upload({.num_layers = 1, .vocab = 8},
                                    {.tokens = positions,
                                     .positions = positions,
                                     .slots = slots,
                                     .layers = layers,
                                     .runs = runs},
                                    target_items);
    MakePages(shape, stored);
    const Numbers qkv(type(), static_cast<size_t>(rows) * shape.qkv_size(), 5);
    const DeviceArray<uint16_t> pages(pages_.bits);
    const DeviceArray<int32_t> table(table_);
    const DeviceArray<uint16_t> queries(qkv.bits);
    const DeviceArray<uint16_t> out(Poison16(static_cast<size_t>(rows) * shape.q_size()));
    const int partials = 2 * target_items * shape.heads;
    const DeviceArray<float> values(std::vector<float>(partials * shape.head_dim));
    const DeviceArray<float2> states(std::vector<float2>(partials, float2{}));
    const DeviceArray<int32_t> arrived(std::vector<int32_t>(partials, 0));
    const HeadShape heads{shape.heads, shape.kv_heads, shape.head_dim};
    const PagesView view{pages.get(), table.get(), 1, kBlocks, 3, shape.kv_heads, shape.head_dim};
    const StepHeader& header = upload_.host_header();
    const AttentionArgs args{.step = step,
                             .layer = 0,
                             .heads = heads,
                             .pages = view,
                             .type = type(),
                             .qkv = queries.get(),
                             .attended = out.get(),
                             .partial_values = values.get(),
                             .partial_states = states.get(),
                             .arrived = arrived.get()};
    ASSERT_EQ(LaunchDecodeAttention(args, header.num_decode_items + 1, stream_.get()), cudaSuccess);
    ASSERT_EQ(LaunchPrefillAttention(args, header.num_prefill_tiles, stream_.get()), cudaSuccess);
    std::vector<double> expected;
    for (int r = 0; r < rows; ++r) {
      for (int h = 0; h < shape.heads; ++h) {
        AppendReference(shape, slots[r], positions[r], h,
                        qkv.values.data() + r * shape.qkv_size() + h * shape.head_dim, expected);
      }
    }
    // Weights and result are rounded once each.
    ExpectClose("attention", ToFloats(type(), out.Read()), expected, shape.q_size(),
                2 * rounding());
    EXPECT_EQ(arrived.Read(), std::vector<int32_t>(partials, 0));
  }

 private:
  void MakePages(const Shape& shape, const std::vector<int>& stored) {
    pages_ = Numbers(type(), kSlots * kBlocks * shape.page(), 6);
    table_.resize(kSlots * kBlocks);
    std::iota(table_.begin(), table_.end(), 0);
    std::shuffle(table_.begin(), table_.end(), std::mt19937(7));
    for (int slot = 0; slot < kSlots; ++slot) {
      for (int p = stored[slot]; p < kContext; ++p) {
        for (int head = 0; head < 2 * shape.kv_heads; ++head) {
          std::fill_n(pages_.bits.begin() + TokenAt(shape, slot, p, head), shape.head_dim, 0xffff);
        }
      }
    }
  }

  // `head` counts the K heads, then the V heads.
  size_t TokenAt(const Shape& shape, int slot, int position, int head) const {
    const size_t page = table_[slot * kBlocks + position / kPageTokens];
    return page * shape.page() +
           (static_cast<size_t>(head) * kPageTokens + position % kPageTokens) * shape.head_dim;
  }

  void AppendReference(const Shape& shape, int slot, int position, int head, const float* q,
                       std::vector<double>& out) const {
    const int kv = head / (shape.heads / shape.kv_heads);
    std::vector<double> sum(shape.head_dim);
    double total = 0;
    for (int p = 0; p <= position; ++p) {
      const float* k = pages_.values.data() + TokenAt(shape, slot, p, kv);
      const float* v = pages_.values.data() + TokenAt(shape, slot, p, shape.kv_heads + kv);
      double dot = 0;
      for (int i = 0; i < shape.head_dim; ++i) dot += double{q[i]} * k[i];
      const double weight = std::exp(dot / std::sqrt(shape.head_dim));
      total += weight;
      for (int i = 0; i < shape.head_dim; ++i) sum[i] += weight * v[i];
    }
    for (const double x : sum) out.push_back(x / total);
  }

  Numbers pages_{DType::kBF16, 0, 0};
  std::vector<int32_t> table_;
};

const Shape kShapes[] = {{2, 2, 64}, {4, 2, 128}, {5, 1, 64}, {8, 2, 128}};

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
    Run(shape, {{0, 0, 2}, {1, 37, 65}, {2, 448, 64}}, 4);
  }
}

TEST_P(AttentionKernelsTest, MixesPrefillAndDecode) {
  Run(kShapes[0], {{0, 300, 1}, {1, 0, 130}, {2, 511, 1}}, 4);
}

INSTANTIATE_TEST_SUITE_P(Types, AttentionKernelsTest, testing::Values(DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace skipstone::cuda
