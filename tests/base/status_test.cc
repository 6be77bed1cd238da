#include "base/status.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

absl::StatusOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(value / 2);
}

absl::StatusOr<int> Quarter(int value, bool* reached) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::unique_ptr<int> half, Half(value));
  SKIPSTONE_ASSIGN_OR_RETURN(half, Half(*half));
  SKIPSTONE_RETURN_IF_ERROR(*half == 0 ? absl::NotFoundError("nothing left") : absl::OkStatus());
  *reached = true;
  return *half;
}

TEST(StatusTest, AssignsMoveOnlyValuesAndGoesOn) {
  bool reached = false;
  EXPECT_EQ(Quarter(12, &reached).value(), 3);
  EXPECT_TRUE(reached);
}

TEST(StatusTest, ReturnsTheFirstError) {
  bool reached = false;
  EXPECT_EQ(Quarter(6, &reached).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(Quarter(0, &reached).status(), absl::NotFoundError("nothing left"));
  EXPECT_FALSE(reached);
}

}  // namespace
}  // namespace skipstone
