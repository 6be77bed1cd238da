#include "engine/request_limits.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/recording_backend.h"

namespace skipstone {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

EngineOptions Options(const std::string& unserved) {
  RecordingBackend backend;
  backend.unserved = unserved;
  return {
      .scheduler = {.num_pages = 100},
      .limits = {
          .num_layers = 2, .vocab = 10, .max_context = 64, .unserved = UnservedFields(backend)}};
}

EngineRequest Request() { return {.id = "a", .prompt = {1}, .skip = SkipSet(2)}; }

TEST(RequestLimitsTest, AFieldThatTheBackendDoesNotServeIsRefusedByName) {
  EXPECT_THAT(Options("").limits.unserved, IsEmpty());
  const EngineOptions options = Options("min_p");
  EXPECT_THAT(options.limits.unserved, ElementsAre("sampling.min_p"));
  EngineRequest request = Request();
  request.sampling.top_p = 0.5f;
  EXPECT_TRUE(ValidateRequest(request, options).ok());
  request.sampling.min_p = 0.5f;
  EXPECT_TRUE(ValidateRequest(request, Options("")).ok());
  const absl::Status status = ValidateRequest(request, options);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), StartsWith("sampling.min_p: "));
}

}  // namespace
}  // namespace skipstone
