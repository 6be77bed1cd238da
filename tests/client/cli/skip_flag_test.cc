#include "client/cli/skip_flag.h"

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

TEST(SkipFlagTest, NamesAreLevels) {
  for (const char* text : {"full", "attn-33", "a", "tier_1.2"}) {
    EXPECT_EQ(SkipFromText(text).level(), text);
  }
}

TEST(SkipFlagTest, AllElseIsASpec) {
  for (const char* text : {"none", "attn:last=33%", "block:3", "Full", "1", "", "caf\xc3\xa9"}) {
    EXPECT_TRUE(SkipFromText(text).has_spec()) << text;
    EXPECT_EQ(SkipFromText(text).spec(), text);
  }
}

}  // namespace
}  // namespace skipstone::client
