#include "engine/cpu/matmul.h"

#include <cmath>
#include <vector>

#include "engine/backend/random_fill.h"
#include "engine/backend/widen.h"
#include "engine/cpu/dot_block.h"
#include "gtest/gtest.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

using Store = MatMulJob::Store;

constexpr int kInputs = 83;
constexpr float kBefore = 0.5f;  // what the output holds

// A weight matrix that owns its memory.
struct Weight {
  Weight(DType type, int64_t outputs, uint64_t seed) : memory(outputs * kInputs * SizeOf(type)) {
    FillUniform({.type = type, .seed = seed, .inputs = kInputs}, 0, outputs * kInputs,
                memory.data());
    tensor = {memory.data(), type, outputs, kInputs};
  }
  double Dot(int64_t output, const std::vector<float>& input) const {
    double sum = 0;
    for (int i = 0; i < kInputs; ++i) {
      sum += input[i] * double{ElementAt(tensor.data, tensor.type, output * kInputs + i)};
    }
    return sum;
  }
  std::vector<char> memory;
  Tensor tensor;
};

// One product over `rows` of max_rows rows, and what float64 makes of it.
class Product {
 public:
  Product(DType type, int64_t outputs, Store store, const RowList& rows, int max_rows)
      : weight_(type, outputs, 1),
        up_(type, outputs, 1 << 20),
        input_(max_rows, kInputs),
        output_(max_rows, outputs),
        max_rows_(max_rows) {
    for (int r = 0; r < max_rows; ++r) {
      rows_.push_back(RandomFloats(kInputs, r));
      std::copy(rows_[r].begin(), rows_[r].end(), input_.row(r));
      ArrangeInput(type, kInputs, input_.row(r));
      std::fill_n(output_.row(r), output_.stride(), kBefore);
    }
    job = {.rows = rows,
           .input = &input_,
           .weight = weight_.tensor,
           .up = store == Store::kSilu ? up_.tensor : Tensor{},
           .output = &output_,
           .store = store};
  }

  // The rows of the list hold the product, the others and the ends of all rows what they held.
  void Check() const {
    std::vector<int> row_of(max_rows_, -1);  // by row of the output
    for (int i = 0; i < job.rows.count; ++i) row_of[job.rows[i]] = job.rows[i];
    for (int r = 0; r < max_rows_; ++r) {
      for (int64_t o = 0; o < output_.stride(); ++o) {
        const bool written = row_of[r] >= 0 && o < job.weight.rows;
        const double expected = written ? Expected(row_of[r], o) : kBefore;
        ASSERT_NEAR(output_.row(r)[o], expected, 1e-5) << "row " << r << " output " << o;
      }
    }
  }

  MatMulJob job;

 private:
  double Expected(int row, int64_t output) const {
    const double dot = weight_.Dot(output, rows_[row]);
    if (job.store == Store::kSet) return dot;
    if (job.store == Store::kAdd) return kBefore + dot;
    return dot / (1 + std::exp(-dot)) * up_.Dot(output, rows_[row]);
  }

  Weight weight_;
  Weight up_;
  std::vector<std::vector<float>> rows_;
  Matrix input_;
  Matrix output_;
  int max_rows_;
};

// Around the sizes of blocks: 6 rows of a tile, 72 rows and 64 outputs of a task.
TEST(MatMulTest, GivesFloat64sProductsForEveryShape) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    MatMul matmul(pool);
    for (const int count : {1, 5, 6, 7, 72, 73, 145, 505, 1010}) {
      for (const int64_t outputs : {1, 63, 64, 65, 130}) {
        for (const Store store : {Store::kSet, Store::kAdd, Store::kSilu}) {
          SCOPED_TRACE(testing::Message() << count << " rows, " << outputs << " outputs, store "
                                          << static_cast<int>(store));
          const Product product(DType::kBF16, outputs, store, {.begin = 2, .count = count},
                                count + 5);
          matmul.Run({&product.job, 1});
          product.Check();
        }
      }
    }
  }
}

TEST(MatMulTest, ServesEveryTypeAndListsByIndex) {
  ThreadPool pool(2);
  MatMul matmul(pool);
  std::vector<int32_t> index;
  for (int i = 0; i < 80; ++i) index.push_back(i * 2 + (i > 40 ? 1 : 0));
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const int count : {1, 11, 80}) {
      SCOPED_TRACE(testing::Message() << NameOf(type) << " " << count << " rows");
      const Product product(type, 70, Store::kAdd, {.count = count, .index = index.data()}, 170);
      matmul.Run({&product.job, 1});
      product.Check();
    }
  }
}

TEST(MatMulTest, RunsJobsOfDifferentSizesSideBySide) {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    MatMul matmul(pool);
    const Product q(DType::kF16, 130, Store::kSet, {.begin = 0, .count = 75}, 80);
    const Product none(DType::kF16, 9, Store::kSet, {}, 80);
    const Product k(DType::kF16, 33, Store::kSet, {.begin = 3, .count = 77}, 80);
    const Product v(DType::kF16, 1, Store::kAdd, {.begin = 79, .count = 1}, 80);
    const MatMulJob jobs[] = {q.job, none.job, k.job, v.job};
    matmul.Run(jobs);
    for (const Product* product : {&q, &none, &k, &v}) product->Check();
    matmul.Run({&none.job, 1});
    matmul.Run({});
  }
}

}  // namespace
}  // namespace skipstone
