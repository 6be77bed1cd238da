// Sums over samples (x, y) from which any linear map of x to y can be fitted, and its squared error
// told, without the samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace skipstone::quality {

// Not thread-safe.
class Moments {
 public:
  // Which products of x with x and with y are summed.
  enum class Products { kNone, kDiagonal, kAll };
  Moments(int hidden, Products products);

  // [rows][hidden] each. In float64; products of all channels in blocks of rows whose bounds
  // neither calls nor threads move, so equal rows in equal order give equal sums to the bit.
  void Add(std::span<const float> inputs, std::span<const float> targets, int threads);
  // To be called after the last Add and before the sums are read or added.
  void Finish(int threads);
  Moments& operator+=(const Moments& other);

  // False if a sample was not.
  bool finite() const;

  const int hidden;
  const Products products;
  double rows = 0;
  std::vector<double> x, y, yy;  // [hidden]: sums of x, y and y^2
  // kDiagonal: [hidden]. kAll: [hidden][hidden], in xx by (column, row) with row >= column only,
  // the matrix is symmetric; in xy by (channel of y, channel of x).
  std::vector<double> xx, xy;

 private:
  std::vector<float> waiting_x_, waiting_y_;  // kAll: rows that do not fill a block yet
};

}  // namespace skipstone::quality
