#include "engine/cpu/rope_table.h"

#include <cmath>

#include "base/check.h"

namespace skipstone {

RopeTable::RopeTable(const ModelShape& shape)
    : half_(shape.head_dim / 2),
      cosines_(shape.max_context, half_),
      sines_(shape.max_context, half_) {
  SKIPSTONE_CHECK(cosines_.valid() && sines_.valid());
  for (int i = 0; i < half_; ++i) {
    const double frequency = std::pow(shape.rope_theta, -2.0 * i / shape.head_dim);
    for (int p = 0; p < shape.max_context; ++p) {
      cosines_.row(p)[i] = static_cast<float>(std::cos(p * frequency));
      sines_.row(p)[i] = static_cast<float>(std::sin(p * frequency));
    }
  }
}

}  // namespace skipstone
