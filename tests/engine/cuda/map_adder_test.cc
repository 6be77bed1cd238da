// Maps of every kind, against the CPU backend.
#include "engine/cuda/products/map_adder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/engine/cuda/two_backends.h"

namespace skipstone::cuda {
namespace {

constexpr int kHidden = 72;
constexpr int kLayers = 2;
constexpr int kMostRows = 210;
const ModelShape kShape{.num_layers = kLayers,
                        .hidden = kHidden,
                        .heads = 1,
                        .kv_heads = 1,
                        .head_dim = 64,
                        .ffn = 96,
                        .vocab = 61,
                        .max_context = 256};

struct Form {
  bool bias, scale;
  int rank;  // 0: no product, kHidden: full
};

class MapAdderTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    backends_ = std::make_unique<TwoBackends>(kShape, GetParam());
    norm_ = backends_->Add(1, kHidden, 1.0f);
  }

  // Maps of these forms in the last layer.
  void AddMaps(const std::vector<Form>& forms) {
    for (const Form& form : forms) {
      MapWeights map;
      if (form.bias) map.bias = backends_->Add(1, kHidden, 0.5f);
      if (form.scale) map.scale = backends_->Add(1, kHidden, 0.5f);
      if (form.rank > 0 && form.rank < kHidden) {
        map.down = backends_->Add(form.rank, kHidden, 0.12f);
      }
      if (form.rank > 0) map.up = backends_->Add(kHidden, form.rank, 0.2f);
      maps_.push_back(map);
    }
    forms_ = forms;
    backends_->Allocate({.max_rows = kMostRows,
                         .max_logits_rows = 8,
                         .max_slots = static_cast<int>(forms.size()),
                         .page_tokens = 16,
                         .num_pages = 16});
  }

  // counts[i] rows have map i, one row in between has none. `strided`: by index.
  void Check(Sublayer sublayer, std::vector<int> counts, bool strided) {
    counts.resize(maps_.size());
    std::vector<std::vector<int32_t>> rows(counts.size());
    int total = 0;
    if (strided) {
      for (int round = 0; round < *std::max_element(counts.begin(), counts.end()); ++round) {
        for (size_t map = 0; map < counts.size(); ++map) {
          if (round < counts[map]) rows[map].push_back(total++);
        }
        ++total;
      }
    } else {
      for (size_t map = 0; map < counts.size(); ++map, ++total) {
        for (int i = 0; i < counts[map]; ++i) rows[map].push_back(total++);
      }
    }
    ASSERT_LE(total, kMostRows);
    std::vector<RowList> lists;
    for (const std::vector<int32_t>& of_map : rows) {
      const auto count = static_cast<int32_t>(of_map.size());
      lists.push_back({count > 0 && !strided ? of_map[0] : 0, count,
                       count > 0 && strided ? of_map.data() : nullptr});
    }
    std::vector<LayerRows> layers(kLayers);
    (sublayer == Sublayer::kMlp ? layers[1].mlp_maps : layers[1].attention_maps) = lists;
    const Numbers states(DType::kF16, total * kHidden, 99, 1.5f);
    const auto stages = [&](Backend& backend) { backend.AddMaps(1, sublayer, norm_, maps_); };
    const auto cpu = backends_->OnCpu({.layers = layers}, states.values, stages);
    const auto cuda = backends_->OnCuda({.layers = layers}, states.values, stages);
    std::vector<int> map_of(total, -1);
    for (size_t map = 0; map < rows.size(); ++map) {
      for (const int32_t row : rows[map]) map_of[row] = static_cast<int>(map);
    }
    for (int row = 0; row < total; ++row) CheckRow(row, map_of[row], states.values, cpu, cuda);
  }

  // What a map adds, relative to what the CPU's adds.
  void CheckRow(int row, int map, const std::vector<float>& before, const TwoBackends::Outcome& cpu,
                const TwoBackends::Outcome& cuda) {
    double difference = 0;
    double norm = 0;
    for (int i = row * kHidden; i < (row + 1) * kHidden; ++i) {
      const double added = double{cpu.residual[i]} - before[i];
      const double error = double{cuda.residual[i]} - cpu.residual[i];
      difference += error * error;
      norm += added * added;
    }
    if (map < 0) {
      ASSERT_EQ(difference, 0) << "row " << row;
      return;
    }
    ASSERT_GT(norm, 0) << "row " << row;
    const double rounding = GetParam() == DType::kBF16 ? 6e-3 : 8e-4;
    // The residual is f32.
    const double bound = 4e-6 + (forms_[map].rank > 1 ? rounding : 2e-6) * std::sqrt(norm);
    ASSERT_LE(std::sqrt(difference), bound) << "row " << row << " map " << map;
  }

  std::unique_ptr<TwoBackends> backends_;
  WeightId norm_;
  std::vector<MapWeights> maps_;
  std::vector<Form> forms_;
};

const std::vector<Form> kForms = {{true, false, 0},     {false, true, 0}, {true, true, 0},
                                  {false, false, 1},    {true, true, 1},  {true, false, 3},
                                  {false, true, 40},    {true, true, 16}, {false, false, kHidden},
                                  {true, true, kHidden}};

// What a recording may hold: launches of a bucket.
TEST_P(MapAdderTest, AddsMapsOfEveryFormInSmallSteps) {
  AddMaps(kForms);
  for (const Sublayer sublayer : {Sublayer::kAttention, Sublayer::kMlp}) {
    for (const bool strided : {false, true}) {
      Check(sublayer, {1, 0, 1, 0, 1, 0, 1, 0, 1}, strided);
      Check(sublayer, {0, 1, 0, 1, 0, 2, 0, 1, 0, 1}, strided);
      Check(sublayer, {0, 0, 0, 0, 0, 14}, strided);
      Check(sublayer, {0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, strided);
    }
  }
}

// Maps of many rows take the library's products, beside maps of few.
TEST_P(MapAdderTest, AddsMapsToManyRows) {
  AddMaps(kForms);
  for (const bool strided : {false, true}) {
    Check(Sublayer::kAttention, {20, 3, 1, 17, 2, 25, 5, 18, 16, 21}, strided);
    Check(Sublayer::kMlp, {0, 0, 0, 0, 0, 60, 0, 0, 70, 0}, strided);
  }
}

TEST_P(MapAdderTest, AddsMoreMapsThanALaunchTakes) {
  std::vector<Form> forms;
  while (forms.size() < 2 * kMapsPerLaunch + 5) {
    forms.push_back(kForms[forms.size() % kForms.size()]);
  }
  AddMaps(forms);
  std::vector<int> counts(forms.size(), 0);
  counts[3] = counts[kMapsPerLaunch - 1] = counts[kMapsPerLaunch] = counts[forms.size() - 2] = 1;
  Check(Sublayer::kAttention, counts, false);
  std::fill(counts.begin(), counts.end(), 1);
  counts[7] = counts[kMapsPerLaunch + 5] = 17;
  Check(Sublayer::kAttention, counts, true);
}

INSTANTIATE_TEST_SUITE_P(Types, MapAdderTest, testing::Values(DType::kF16, DType::kBF16),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace skipstone::cuda
