#include "base/experiment/exposure_reader.h"

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::experiment {
namespace {

using testing::ElementsAre;

std::string Line(const std::string& id) { return FormatExposure({.request_id = id}); }

std::vector<std::string> IdsOf(const std::string& log, ExposureCounts& counts) {
  std::istringstream in(log);
  std::vector<std::string> ids;
  ReadExposures(
      in, "x.jsonl", [&](ExposureRecord record) { ids.push_back(record.request_id); }, counts);
  return ids;
}

TEST(ExposureReaderTest, HandsOverTheRecordsInOrder) {
  ExposureCounts counts;
  EXPECT_THAT(IdsOf(Line("1") + "\n" + Line("2") + Line("3"), counts), ElementsAre("1", "2", "3"));
  EXPECT_EQ(counts.records, 3);
  EXPECT_EQ(counts.refused, 0);
  EXPECT_THAT(IdsOf("", counts), ElementsAre()) << "an empty log";
  EXPECT_EQ(counts.records, 3) << "they add up over logs";
}

TEST(ExposureReaderTest, ALastLineNeedsNoEndUnlessItIsTorn) {
  ExposureCounts counts;
  std::string log = Line("1") + Line("2");
  log.pop_back();
  EXPECT_THAT(IdsOf(log, counts), ElementsAre("1", "2"));
  log.pop_back();
  EXPECT_THAT(IdsOf(log, counts), ElementsAre("1"));
  EXPECT_THAT(counts.errors, ElementsAre("x.jsonl:2: the line is torn, or no JSON"));
}

TEST(ExposureReaderTest, TornAndForeignLinesAreNamedAndCountedAndTheRestIsRead) {
  ExposureCounts counts;
  const std::string log = Line("1") + Line("torn").substr(0, 50) + "\n" + "GET / HTTP/1.1\n" +
                          "{\"schema\": \"other\"}\n" + Line("2");
  EXPECT_THAT(IdsOf(log, counts), ElementsAre("1", "2"));
  EXPECT_EQ(counts.records, 2);
  EXPECT_EQ(counts.refused, 3);
  EXPECT_THAT(counts.errors,
              ElementsAre("x.jsonl:2: the line is torn, or no JSON",
                          "x.jsonl:3: the line is torn, or no JSON",
                          "x.jsonl:4: no exposure record: its schema is not skipstone.exposure/1"));
}

TEST(ExposureReaderTest, OnlyTheFirstErrorsAreKept) {
  ExposureCounts counts;
  std::string log;
  for (int i = 0; i < 1000; ++i) log += "?\n";
  EXPECT_THAT(IdsOf(log + Line("1"), counts), ElementsAre("1"));
  EXPECT_EQ(counts.refused, 1000);
  EXPECT_EQ(counts.errors.size(), ExposureCounts::kMostErrors);
}

// Something else than a log costs no memory for its longest line.
TEST(ExposureReaderTest, ALineThatNoRecordCanBeIsPassedOver) {
  ExposureCounts counts;
  const std::string log =
      Line("1") + std::string(9 << 20, 'x') + "\n" + Line("2") + std::string(5 << 20, 'y');
  EXPECT_THAT(IdsOf(log, counts), ElementsAre("1", "2"));
  EXPECT_THAT(counts.errors, ElementsAre("x.jsonl:2: no exposure record: the line is too long",
                                         "x.jsonl:4: no exposure record: the line is too long"));
}

TEST(ExposureReaderTest, LogsOfReplicasAreMergedByTime) {
  const auto log = [](const std::vector<int64_t>& times) {
    std::string lines;
    for (const int64_t time : times) {
      lines += FormatExposure({.time_unix_ms = time, .request_id = absl::StrCat(time)});
    }
    return lines;
  };
  // The second has two that ended out of order, and a line that is none; the third is empty.
  std::istringstream a(log({1, 4, 9}));
  std::istringstream b("?\n" + log({3, 2, 5, 11}));
  std::istringstream c;
  ExposureCounts counts;
  std::vector<std::string> ids;
  const std::vector<NamedLog> logs = {{a, "a"}, {b, "b"}, {c, "c"}};
  MergeExposures(
      logs, [&](ExposureRecord record) { ids.push_back(record.request_id); }, counts);
  EXPECT_THAT(ids, ElementsAre("1", "3", "2", "4", "5", "9", "11"));
  EXPECT_EQ(counts.records, 7);
  EXPECT_THAT(counts.errors, ElementsAre("b:1: the line is torn, or no JSON"));
}

}  // namespace
}  // namespace skipstone::experiment
