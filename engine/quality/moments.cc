#include "engine/quality/moments.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/check.h"
#include "base/parallel_for.h"

namespace skipstone::quality {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// A product that reads and writes the sums once for each block is bound by arithmetic from about a
// hundred rows on; at hidden 4096 a block of two matrices takes 32 MB.
constexpr size_t kBlockRows = 512;
// Of a thread's share: wide enough for the product's kernel, and 32 shares at hidden 4096.
constexpr int64_t kBlockColumns = 128;

void Accumulate(std::vector<double>& sums, const std::vector<double>& more) {
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
}

bool AllFinite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

}  // namespace

Moments::Moments(int hidden, Products products)
    : hidden(hidden), products(products), x(hidden), y(hidden), yy(hidden) {
  const size_t count = products == Products::kNone ? 0
                       : products == Products::kDiagonal
                           ? static_cast<size_t>(hidden)
                           : static_cast<size_t>(hidden) * static_cast<size_t>(hidden);
  xx.resize(count);
  xy.resize(count);
}

void Moments::Add(std::span<const float> inputs, std::span<const float> targets, int threads) {
  const auto width = static_cast<size_t>(hidden);
  SKIPSTONE_CHECK(inputs.size() == targets.size() && inputs.size() % width == 0);
  for (size_t first = 0; first < inputs.size(); first += width) {
    const std::span<const float> in = inputs.subspan(first, width);
    const std::span<const float> out = targets.subspan(first, width);
    for (size_t c = 0; c < width; ++c) {
      x[c] += in[c];
      y[c] += out[c];
      yy[c] += double{out[c]} * out[c];
    }
    rows += 1;
    if (products == Products::kDiagonal) {
      for (size_t c = 0; c < width; ++c) {
        xx[c] += double{in[c]} * in[c];
        xy[c] += double{in[c]} * out[c];
      }
    } else if (products == Products::kAll) {
      waiting_x_.insert(waiting_x_.end(), in.begin(), in.end());
      waiting_y_.insert(waiting_y_.end(), out.begin(), out.end());
      if (waiting_x_.size() == kBlockRows * width) Finish(threads);
    }
  }
}

void Moments::Finish(int threads) {
  if (waiting_x_.empty()) return;
  const Eigen::Index size = hidden;
  const auto count = static_cast<Eigen::Index>(waiting_x_.size()) / size;
  const Eigen::MatrixXd in =
      Eigen::Map<const RowMajor>(waiting_x_.data(), count, size).cast<double>();
  const Eigen::MatrixXd out =
      Eigen::Map<const RowMajor>(waiting_y_.data(), count, size).cast<double>();
  Eigen::Map<Eigen::MatrixXd> squares(xx.data(), size, size), cross(xy.data(), size, size);
  ParallelForBlocks(threads, size, kBlockColumns, [&](int64_t first, int64_t columns) {
    const Eigen::Index below = size - first;
    squares.block(first, first, below, columns).noalias() +=
        in.rightCols(below).transpose() * in.middleCols(first, columns);
    cross.middleCols(first, columns).noalias() += in.transpose() * out.middleCols(first, columns);
  });
  waiting_x_.clear();
  waiting_y_.clear();
}

Moments& Moments::operator+=(const Moments& other) {
  SKIPSTONE_CHECK(waiting_x_.empty() && other.waiting_x_.empty());
  rows += other.rows;
  Accumulate(x, other.x);
  Accumulate(y, other.y);
  Accumulate(yy, other.yy);
  Accumulate(xx, other.xx);
  Accumulate(xy, other.xy);
  return *this;
}

// Sums of floats neither overflow nor lose what is not finite.
bool Moments::finite() const { return AllFinite(x) && AllFinite(y); }

}  // namespace skipstone::quality
