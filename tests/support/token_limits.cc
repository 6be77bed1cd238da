#include "tests/support/token_limits.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using Ids = std::vector<int32_t>;
using EncodeFunction = std::function<absl::StatusOr<Ids>(const TokenLimit&)>;

void CheckLimit(const EncodeFunction& encode, size_t limit, size_t taken) {
  const auto whole = encode(TokenLimit());
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto ids = encode({.tokens = limit, .taken = taken});
  if (whole->size() + taken <= limit) {
    ASSERT_TRUE(ids.ok()) << ids.status();
    ASSERT_EQ(*ids, *whole);
  } else {
    ASSERT_EQ(ids.status().code(), absl::StatusCode::kOutOfRange) << ids.status();
    size_t least = 0;
    ASSERT_EQ(std::sscanf(std::string(ids.status().message()).c_str(), "at least %zu", &least), 1);
    ASSERT_GT(least, limit);
    ASSERT_LE(least, whole->size() + taken);
  }
  const auto last = encode({.tokens = limit, .keep_last = true});
  ASSERT_TRUE(last.ok()) << last.status();
  const auto kept = static_cast<std::ptrdiff_t>(std::min(limit, whole->size()));
  ASSERT_EQ(*last, Ids(whole->end() - kept, whole->end()));
}

}  // namespace

void CheckTokenLimits(const Tokenizer& tokenizer, const std::string& text, std::mt19937& random) {
  const auto whole = tokenizer.Encode(text);
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (int i = 0; i < 3; ++i) {
    const size_t limit = random() % (whole->size() + 3);
    const size_t taken = random() % 3;
    SCOPED_TRACE(testing::Message()
                 << testing::PrintToString(text) << ", limit " << limit << ", taken " << taken);
    CheckLimit([&](const TokenLimit& of) { return tokenizer.Encode(text, of); }, limit, taken);
    CheckLimit([&](const TokenLimit& of) { return tokenizer.EncodeMessage(text, of); }, limit,
               taken);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace skipstone
