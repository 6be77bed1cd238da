// Mean and percentiles of a sample.
#pragma once

#include <cstddef>
#include <vector>

namespace skipstone::client {

// The p-th percentile (0 to 100) of ascending values, interpolated linearly between the two values
// around rank p/100 * (count - 1). NaN of an empty sample.
double Percentile(const std::vector<float>& sorted, double p);

// NaN in every field but count if the sample is empty.
struct Summary {
  size_t count = 0;
  double mean;
  double p50;
  double p90;
  double p99;
  double max;
};

Summary Summarize(std::vector<float> values);

}  // namespace skipstone::client
