#include "engine/cpu/weight_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

absl::StatusOr<Buffer> Widened(const Tensor& matrix, ThreadPool& pool) {
  const int64_t elements = matrix.rows * matrix.cols;
  Buffer copy = Buffer::Map(elements * static_cast<int64_t>(sizeof(float)));
  if (copy.as<float>() == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no address space for the f32 copy of a %s matrix of [%d, %d]",
                        NameOf(matrix.type), matrix.rows, matrix.cols));
  }
  pool.ParallelFor(matrix.rows, [&](int64_t row, int) {
    const int64_t first = row * matrix.cols;
    ToFloat(static_cast<const char*>(matrix.data) + first * SizeOf(matrix.type), matrix.type,
            matrix.cols, copy.as<float>() + first);
  });
  return copy;
}

absl::Status CheckShapes(std::span<const Tensor> group) {
  if (group.empty()) return absl::InvalidArgumentError("a weight group must not be empty");
  for (const Tensor& tensor : group) {
    if (tensor.data == nullptr || tensor.rows < 1 || tensor.cols < 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("a weight of shape [%d, %d] is empty", tensor.rows, tensor.cols));
    }
    if (tensor.cols != group[0].cols) {
      return absl::InvalidArgumentError(
          absl::StrFormat("matrices of a group must share their inputs: [.., %d] and [.., %d]",
                          group[0].cols, tensor.cols));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WeightId> WeightStore::Add(std::span<const Tensor> group, ThreadPool& pool) {
  SKIPSTONE_RETURN_IF_ERROR(CheckShapes(group));
  Group added;
  added.matrices.assign(group.begin(), group.end());
  const bool mixed = std::ranges::any_of(
      group, [&](const Tensor& tensor) { return tensor.type != group[0].type; });
  for (Tensor& matrix : added.matrices) {
    if (mixed && matrix.type != DType::kF32) {
      SKIPSTONE_ASSIGN_OR_RETURN(Buffer copy, Widened(matrix, pool));
      matrix.data = copy.as<float>();
      matrix.type = DType::kF32;
      added.widened.push_back(std::move(copy));
    }
    if (counted_.insert(matrix.data).second) bytes_ += matrix.bytes();
  }
  if (group.size() == 1 && group[0].rows == 1) {
    added.vector.resize(group[0].cols);
    ToFloat(group[0].data, group[0].type, group[0].cols, added.vector.data());
  }
  groups_.push_back(std::move(added));
  return WeightId{static_cast<int>(groups_.size()) - 1};
}

}  // namespace skipstone
