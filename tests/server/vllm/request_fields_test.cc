// What stands in front of a request's id.
#include "server/vllm/request_fields.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

RequestFields Read(const std::string& id) {
  const auto fields = FieldsOf(id);
  EXPECT_TRUE(fields.ok()) << id << ": " << fields.status();
  return fields.ok() ? *fields : RequestFields();
}

std::string ErrorOf(const std::string& id) {
  const auto fields = FieldsOf(id);
  EXPECT_TRUE(absl::IsInvalidArgument(fields.status())) << id;
  return std::string(fields.status().message());
}

TEST(RequestFieldsTest, StandBeforeTheId) {
  const RequestFields fields = Read("skip=attn:last=33%;unit=alice;-0123");
  EXPECT_THAT(fields.values, ElementsAre(Pair("skip", "attn:last=33%"), Pair("unit", "alice")));
  EXPECT_EQ(fields.id, "-0123");
  EXPECT_EQ(IdOf("skip=attn:last=33%;unit=alice;-0123"), "-0123");
}

TEST(RequestFieldsTest, MayBeEmptyAndHoldEqualsSigns) {
  EXPECT_THAT(Read("unit=;salt=a=b;x").values, ElementsAre(Pair("salt", "a=b"), Pair("unit", "")));
}

TEST(RequestFieldsTest, AreNotInIdsOfOtherForms) {
  for (const char* id : {"", "cmpl-0123", "a;b", "a=b;c", "Skip=none;1", "skip", "skip=none", ";",
                         "=;x", "x;skip=none;y", "skipped=1;2"}) {
    const RequestFields fields = Read(id);
    EXPECT_THAT(fields.values, IsEmpty()) << id;
    EXPECT_EQ(fields.id, id);
    EXPECT_EQ(IdOf(id), id);
  }
}

TEST(RequestFieldsTest, TheIdMayHoldSemicolons) {
  EXPECT_EQ(Read("unit=a;b;c=d").id, "b;c=d") << "b has no '='";
  EXPECT_EQ(Read("unit=a;b=c").id, "b=c") << "and this has no ';' behind it";
}

TEST(RequestFieldsTest, OnesThatAreMeantAndWrongAreRefused) {
  EXPECT_THAT(ErrorOf("skip=none;units=a;1"), HasSubstr("'units' is none of"));
  EXPECT_THAT(ErrorOf("unit=a;unit=b;1"), HasSubstr("'unit' comes twice"));
  EXPECT_THAT(ErrorOf("unit=a;"), HasSubstr("an id is wanted"));
  EXPECT_EQ(IdOf("unit=a;"), "unit=a;") << "of no request";
}

}  // namespace
}  // namespace skipstone::server
