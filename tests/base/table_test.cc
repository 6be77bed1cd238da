#include "base/table.h"

#include <limits>
#include <sstream>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

std::string Printed(const Table& table) {
  std::ostringstream out;
  table.Print(out);
  return out.str();
}

TEST(TableTest, NumbersGoRightAndTextLeft) {
  Table table({"name", "ms"});
  table.AddRow({"full", "1.5"});
  table.AddRow({"attn:last=1", "-"});
  table.AddRow({"x", "1000.25"});
  EXPECT_EQ(Printed(table),
            "name              ms\n"
            "full             1.5\n"
            "attn:last=1        -\n"
            "x            1000.25\n");
}

TEST(TableTest, OneTextMakesAColumnText) {
  Table table({"v"});
  table.AddRow({"1"});
  table.AddRow({"none"});
  EXPECT_EQ(Printed(table), "v\n1\nnone\n");
}

TEST(TableTest, WithoutHeaderRowsDecideTheColumns) {
  Table table({});
  table.AddRow({"a"});
  table.AddRow({"bb", "text", "-7"});
  EXPECT_EQ(Printed(table), "a\nbb  text  -7\n");
  EXPECT_EQ(Printed(Table({})), "");
}

TEST(TableTest, WidthsCountCharacters) {
  Table table({"piece", "x"});
  table.AddRow({"\u2581\u2581\u2581\u2581\u2581\u2581", "a"});
  EXPECT_EQ(Printed(table), "piece   x\n\u2581\u2581\u2581\u2581\u2581\u2581  a\n");
}

TEST(TableTest, ControlCharactersDoNotBreakRows) {
  Table table({"token", "id"});
  table.AddRow({"\n\t\x1b[2J", "13"});
  EXPECT_EQ(Printed(table), "token          id\n\\n\\x09\\x1b[2J  13\n");
}

TEST(TableTest, NumbersThatAreNoneAreDashes) {
  EXPECT_EQ(FormatNumber(1.25, 1), "1.2");
  EXPECT_EQ(FormatNumber(-3, 0), "-3");
  EXPECT_EQ(FormatNumber(std::numeric_limits<double>::quiet_NaN()), "-");
  EXPECT_EQ(FormatNumber(-std::numeric_limits<double>::infinity()), "-");
}

}  // namespace
}  // namespace skipstone
