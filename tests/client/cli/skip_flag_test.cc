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
  for (const char* text :
       {"none", "attn:last=33%", "win:0-3/64", "block:3", "Full", "1", "", "caf\xc3\xa9"}) {
    EXPECT_TRUE(SkipFromText(text).has_spec()) << text;
    EXPECT_EQ(SkipFromText(text).spec(), text);
  }
}

TEST(SkipFlagTest, CeilingsAreReadAlike) {
  EXPECT_EQ(CeilingFromText("attn-33").ceiling_level(), "attn-33");
  for (const char* text : {"none", "attn:last=33%", "win:0-3/64", ""}) {
    EXPECT_TRUE(CeilingFromText(text).has_ceiling_spec()) << text;
    EXPECT_EQ(CeilingFromText(text).ceiling_spec(), text);
  }
}

}  // namespace
}  // namespace skipstone::client
