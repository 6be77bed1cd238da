// A switchback over a device whose step times are known, from the clock to the report.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/experiment/report/report_builder.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;

TEST(SwitchbackTest, RecoversAPlantedStepTimeThroughTheServer) {
  constexpr double kSlower = 0.5;
  const TempDir dir;
  const std::string log = dir.path() + "/exposures.jsonl";
  std::atomic<int> failed{0};
  {
    FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexposure_log: " + log +
                               "\nexperiments:\n- name: e\n  unit: window:500ms\n"
                               "  arms: [{name: control, level: full, weight: 1},\n"
                               "         {name: treatment, level: deep, weight: 1}]\n",
                       .step_time_of = [](const StepPlan& plan) {
                         // A step of requests of both arms, after a change, is a slow one.
                         const bool is_slow = std::ranges::any_of(
                             plan.sets,
                             [](const SkipSet& skip) { return !skip.KeepsAttention(3); });
                         return is_slow ? milliseconds(15) : milliseconds(10);
                       }});
    std::atomic<bool> stop{false};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        while (!stop) failed += server.Generate(Prompt("5 6 7", 4)).status.ok() ? 0 : 1;
      });
    }
    std::this_thread::sleep_for(std::chrono::seconds(20));
    stop = true;
    for (std::thread& client : clients) client.join();
  }
  EXPECT_EQ(failed, 0);
  experiment::ReportBuilder builder({});
  experiment::ExposureCounts counts;
  std::ifstream in(log);
  experiment::ReadExposures(
      in, log, [&](const experiment::ExposureRecord& record) { builder.Add(record); }, counts);
  const experiment::ExposureReport report = builder.Finish(counts);
  ASSERT_EQ(report.experiments.size(), 1);
  const experiment::EffectReport* const effect = report.experiments[0].EffectOf(1, "itl_s");
  ASSERT_NE(effect, nullptr);
  // What else a step takes is in both arms: a hundredth of it, and more on a busy machine.
  EXPECT_NEAR(effect->value, kSlower, 0.05);
  ASSERT_TRUE(effect->interval);
  EXPECT_TRUE(effect->IsClear());
  EXPECT_LT(effect->interval->low, kSlower);
  EXPECT_GT(effect->interval->high, kSlower - 0.03);
}

}  // namespace
}  // namespace skipstone::server
