#include "base/hash.h"

#include <set>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::string_view_literals::operator""sv;

// From the test suite that the authors of FNV published.
TEST(HashTest, Fnv1aGivesThePublishedValues) {
  EXPECT_EQ(Fnv1a64(""), 0xcbf29ce484222325u);
  EXPECT_EQ(Fnv1a64("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(Fnv1a64("b"), 0xaf63df4c8601f1a5u);
  EXPECT_EQ(Fnv1a64("fo"), 0x08985907b541d342u);
  EXPECT_EQ(Fnv1a64("foo"), 0xdcb27518fed9d577u);
  EXPECT_EQ(Fnv1a64("foobar"), 0x85944171f73967e8u);
  EXPECT_EQ(Fnv1a64("\0"sv), 0xaf63bd4c8601b7dfu);
  EXPECT_EQ(Fnv1a64("chongo was here!\n"), 0x46810940eff5f915u);
}

// A byte above 127 must not be sign-extended: the value is the definition, step by step.
TEST(HashTest, Fnv1aTakesBytesAsUnsigned) {
  EXPECT_EQ(Fnv1a64("\xff"), (0xcbf29ce484222325u ^ 0xffu) * 1099511628211u);
}

TEST(HashTest, Fnv1aContinuesFromAState) {
  EXPECT_EQ(Fnv1a64("bar", Fnv1a64("foo")), Fnv1a64("foobar"));
}

// The first outputs of the generator with the seeds 0 and 1234567, as its author's code gives them;
// the generator's state grows by the golden gamma before each output.
TEST(HashTest, Mix64GivesSplitMix64sPublishedOutputs) {
  constexpr uint64_t kGamma = 0x9e3779b97f4a7c15u;
  EXPECT_EQ(Mix64(0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(Mix64(kGamma), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(Mix64(2 * kGamma), 0x06c45d188009454fu);
  EXPECT_EQ(Mix64(1234567), 6457827717110365317u);
  EXPECT_EQ(Mix64(1234567 + kGamma), 3203168211198807973u);
  EXPECT_EQ(Mix64(1234567 + 2 * kGamma), 9817491932198370423u);
}

TEST(HashTest, Mix64KeepsConsecutiveInputsApart) {
  std::set<uint32_t> upper_halves;
  for (uint64_t i = 0; i < 1000; ++i) {
    upper_halves.insert(static_cast<uint32_t>(Mix64(i) >> 32));
  }
  EXPECT_EQ(upper_halves.size(), 1000);
}

}  // namespace
}  // namespace skipstone
