// The log of a running server, and of volumes that fail.
#include "server/exposure_log.h"

#include <atomic>
#include <fstream>
#include <string>
#include <vector>

#include "base/experiment/exposure_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using experiment::ExposureRecord;
using testing::HasSubstr;

constexpr Duration kLong = std::chrono::seconds(30);
const std::string kExperiments =
    "levels: {full: none, deep: 'attn:last=2'}\n"
    "experiments:\n"
    "- {name: e, unit: request.experiment_key, salt: s,\n"
    "   arms: [{name: c, level: full, weight: 1}, {name: t, level: deep, weight: 1}]}\n"
    "- {name: w, layer: time, unit: window:60s,\n"
    "   arms: [{name: a, weight: 1}, {name: b, weight: 1}]}\n";

class ExposureLogTest : public testing::Test {
 protected:
  std::string path() const { return dir_.path() + "/x.jsonl"; }
  std::string Yaml(const std::string& more = "") const {
    return "exposure_log: " + path() + "\n" + more + kExperiments;
  }
  // Those that are written once `count` of them are.
  std::vector<ExposureRecord> Records(size_t count) const {
    std::vector<ExposureRecord> records;
    EXPECT_TRUE(Eventually([&] {
      records.clear();
      std::ifstream in(path());
      experiment::ExposureCounts counts;
      experiment::ReadExposures(
          in, path(), [&](ExposureRecord record) { records.push_back(std::move(record)); }, counts);
      return records.size() >= count && counts.refused == 0;
    }));
    EXPECT_EQ(records.size(), count);
    records.resize(count);
    return records;
  }
  static double State(FakeServer& server, const std::string& state) {
    return server.Metric("skipstone_exposure_records_total", {"state=\"" + state + "\""});
  }

  TempDir dir_;
};

TEST_F(ExposureLogTest, ARequestThatEndedHasOneRecord) {
  FakeServer server({.yaml = Yaml()});
  v1::GenerateRequest request = Prompt("5 6 7 8 9", 4);
  request.set_experiment_key("user-1");
  request.set_request_id("r-1");
  const auto answer = server.Generate(request, [](grpc::ClientContext& context) {
    context.AddMetadata("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  });
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const v1::AppliedSkip& applied = answer.response.accepted().applied_skip();
  const v1::Finished& finished = answer.response.outputs(0).finished();
  const ExposureRecord record = Records(1)[0];
  EXPECT_EQ(record.request_id, "r-1");
  EXPECT_EQ(record.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  EXPECT_EQ(record.level, applied.level());
  EXPECT_EQ(record.skip_id.value, applied.skip_id());
  EXPECT_FALSE(record.enlarged);
  EXPECT_EQ(record.outcome, "ok");
  EXPECT_EQ(record.prompt_tokens, answer.response.accepted().prompt_tokens());
  EXPECT_EQ(record.generated_tokens, 4);
  EXPECT_EQ(record.kv_pages_used, finished.kv_pages_used());
  EXPECT_EQ(record.kv_pages_omitted, finished.kv_pages_omitted());
  EXPECT_GT(record.ttft_s.value(), 0);
  EXPECT_GE(record.e2e_s, *record.ttft_s);
  EXPECT_GT(record.itl_mean_s.value(), 0);
  EXPECT_GE(record.attributed_s, 0);
  EXPECT_FALSE(record.text.has_value());
  EXPECT_EQ(record.Of("e")->arm, applied.arm());
  EXPECT_EQ(record.Of("e")->unit->value, experiment::UnitHash("s", "user-1"));
  EXPECT_TRUE(record.Of("w")->window.has_value());
  EXPECT_EQ(State(server, "written"), 1);
  // Another of the same prompt, outside of `e`, of which half was cached.
  request.set_request_id("r-2");
  request.clear_experiment_key();
  EXPECT_TRUE(server.Generate(request).status.ok());
  request.set_request_id("r-3");
  EXPECT_TRUE(server.Generate(request).status.ok());
  const ExposureRecord outside = Records(3)[2];
  EXPECT_EQ(outside.Of("e")->reason, experiment::Reason::kUnitMissing);
  EXPECT_EQ(outside.level, "full");
  EXPECT_EQ(outside.cached_prompt_tokens, 4);
}

std::string Contents(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(ExposureLogTest, NeitherUnitsNorTextsStandInItUnlessTextsAreOn) {
  v1::GenerateRequest request = Prompt("77 78", 3);
  request.set_n(2);
  request.set_experiment_key("unit-of-a-person");
  {
    FakeServer server({.yaml = Yaml()});
    EXPECT_TRUE(server.Generate(request).status.ok());
    EXPECT_FALSE(Records(1)[0].text.has_value());
  }
  const std::string log = Contents(path());
  EXPECT_EQ(log.find("unit-of-a-person"), std::string::npos);
  EXPECT_EQ(log.find("77 78"), std::string::npos);
  FakeServer server({.yaml = Yaml("exposure_text: true\n")});
  const auto answer = server.Generate(request);
  const ExposureRecord record = Records(2)[1];
  ASSERT_TRUE(record.text.has_value());
  EXPECT_EQ(record.text->prompt, "77 78");
  ASSERT_EQ(record.text->outputs.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(record.text->outputs[i], answer.response.outputs(i).delta().text());
  }
}

TEST_F(ExposureLogTest, EndsOfAllKindsAreRecorded) {
  FakeServer server({.yaml = Yaml(), .max_sequences = 1, .max_queue = 1});
  server.gate().Close();
  v1::GenerateRequest request = Prompt("5 6", 3);
  request.set_experiment_key("k");
  Streaming running(server.stub(), request);
  server.gate().WaitArrivals(1);
  request.set_request_id("waiting");
  Streaming waiting(server.stub(), request);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  request.set_request_id("refused");
  EXPECT_EQ(server.Generate(request).status.error_code(), grpc::RESOURCE_EXHAUSTED);
  const ExposureRecord refused = Records(1)[0];
  EXPECT_EQ(refused.outcome, "rejected");
  EXPECT_EQ(refused.request_id, "refused");
  EXPECT_TRUE(refused.Of("e")->assigned()) << "dropping it would bias the comparison";
  EXPECT_EQ(refused.generated_tokens, 0);
  grpc::ClientContext context;
  v1::AbortRequest abort;
  abort.add_request_ids("waiting");
  v1::AbortResponse aborted;
  EXPECT_TRUE(server.stub().Abort(&context, abort, &aborted).ok());
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok());
  EXPECT_TRUE(waiting.ReadAll().ok());
  std::multiset<std::string> outcomes;
  for (const ExposureRecord& record : Records(3)) outcomes.insert(record.outcome);
  EXPECT_EQ(outcomes, (std::multiset<std::string>{"rejected", "aborted", "ok"}));
}

TEST_F(ExposureLogTest, AFullDiskIsCountedAndServingGoesOn) {
  FakeServer server({.yaml = "exposure_log: /dev/full\n" + kExperiments});
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(server.Generate(Prompt("5 6", 2)).status.ok());
  EXPECT_TRUE(Eventually([&] { return State(server, "failed") == 20; }));
  EXPECT_EQ(State(server, "written"), 0);
  EXPECT_EQ(State(server, "dropped"), 0);
}

TEST_F(ExposureLogTest, ALogThatCannotBeOpenedStopsTheStart) {
  ServerConfig config;
  config.listen = config.metrics_listen = "127.0.0.1:0";
  config.exposure_log = dir_.path() + "/no/x.jsonl";
  const absl::Status status = Server::Bind(config).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("no/x.jsonl: No such file"));
  EXPECT_EQ(ExposureLog::Open(ServerConfig()).value(), nullptr) << "none is asked for";
}

// Holds every write until it is opened.
class SlowVolume : public LineOutput {
 public:
  explicit SlowVolume(Gate& gate, std::atomic<int64_t>& bytes) : gate_(gate), bytes_(bytes) {}
  bool Write(std::string_view lines, const std::atomic<bool>&) override {
    gate_.Pass();
    bytes_ += static_cast<int64_t>(lines.size());
    return true;
  }

 private:
  Gate& gate_;
  std::atomic<int64_t>& bytes_;
};

TEST_F(ExposureLogTest, ASlowVolumeHoldsNobodyAndItsQueueIsBounded) {
  Gate gate;
  gate.Close();
  std::atomic<int64_t> bytes{0};
  ExposureLog log(std::make_unique<SlowVolume>(gate, bytes));
  constexpr int kRecords = 50000;
  for (int i = 0; i < kRecords; ++i) log.Write({.request_id = std::to_string(i)});
  const LogWriter::Counts stalled = log.counts();
  EXPECT_GT(stalled.dropped, kRecords / 2);
  EXPECT_EQ(stalled.written, 0);
  gate.Open();
  EXPECT_TRUE(log.Flush(kLong));
  const LogWriter::Counts counts = log.counts();
  EXPECT_EQ(counts.written + counts.dropped, kRecords);
  EXPECT_EQ(counts.failed, 0);
  EXPECT_LT(bytes, (4 << 20) + (64 << 10)) << "no more than the queue held";
}

TEST_F(ExposureLogTest, TheEndOfAServerWritesWhatIsLeft) {
  {
    FakeServer server({.yaml = Yaml()});
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(server.Generate(Prompt("5 6", 1)).status.ok());
    EXPECT_TRUE(server.server().Drain(/*now=*/false));
  }
  const std::string log = Contents(path());
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 50);
}

TEST_F(ExposureLogTest, FilesRotate) {
  {
    FakeServer server({.yaml = Yaml("exposure_log_size: 4KiB\nexposure_log_files: 3\n")});
    for (int i = 0; i < 60; ++i) EXPECT_TRUE(server.Generate(Prompt("5 6", 1)).status.ok());
    server.server().Drain(/*now=*/false);
  }
  experiment::ExposureCounts counts;
  for (const char* age : {"", ".1", ".2"}) {
    const std::string text = Contents(path() + age);
    EXPECT_FALSE(text.empty());
    EXPECT_LE(text.size(), 4096u);
    std::istringstream in(text);
    experiment::ReadExposures(
        in, age, [](ExposureRecord) {}, counts);
  }
  EXPECT_EQ(counts.refused, 0);
  EXPECT_GT(counts.records, 5);
  EXPECT_TRUE(Contents(path() + ".3").empty());
}

}  // namespace
}  // namespace skipstone::server
