// A switchback over a device whose step times are known, from the clock to the report.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/experiment/report/report_builder.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;

// How long a device takes that needs half as long again for a step with deep requests, by what the
// clock says: from one launch to the next, where that one decodes.
class PlantedDevice {
 public:
  milliseconds StepTime(const StepPlan& plan) {
    const bool is_slow =
        std::ranges::any_of(plan.sets, [](const SkipSet& skip) { return !skip.KeepsAttention(3); });
    const Clock::time_point now = Clock::now();
    if (last_ && plan.decode_rows > 0) {
      seconds_[was_slow_].push_back(std::chrono::duration<double>(now - *last_).count());
    }
    last_ = now;
    was_slow_ = is_slow;
    return is_slow ? milliseconds(30) : milliseconds(20);
  }
  // Of means, slow against the others, less 1.
  double effect() const { return Mean(seconds_[1]) / Mean(seconds_[0]) - 1; }

 private:
  using Clock = std::chrono::steady_clock;
  static double Mean(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  }

  std::optional<Clock::time_point> last_;
  bool was_slow_ = false;
  std::vector<double> seconds_[2];
};

TEST(SwitchbackTest, RecoversAPlantedStepTimeThroughTheServer) {
  const TempDir dir;
  const std::string log = dir.path() + "/exposures.jsonl";
  std::atomic<int> failed{0};
  PlantedDevice device;  // its calls are the step thread's
  {
    FakeServer server(
        {.yaml = "levels: {full: none, deep: 'attn:last=2'}\nexposure_log: " + log +
                 "\nexperiments:\n- name: e\n  unit: window:1s\n"
                 "  arms: [{name: control, level: full, weight: 1},\n"
                 "         {name: treatment, level: deep, weight: 1}]\n",
         .step_time_of = [&](const StepPlan& plan) { return device.StepTime(plan); }});
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
  ASSERT_TRUE(effect->interval);
  // The numbers of base/experiment/RESULTS.md, with --gtest_output=xml.
  RecordProperty("effect", absl::StrFormat("%.3f [%.3f, %.3f]", effect->value,
                                           effect->interval->low, effect->interval->high));
  RecordProperty("by_the_devices_clock", absl::StrFormat("%.3f", device.effect()));
  EXPECT_TRUE(effect->IsClear());
  EXPECT_NEAR(device.effect(), 0.5, 0.1) << "as planted, with what else a step takes";
  EXPECT_NEAR(effect->value, device.effect(), 0.03);
  EXPECT_LT(effect->interval->low, device.effect() + 0.01);
  EXPECT_GT(effect->interval->high, device.effect() - 0.01);
}

}  // namespace
}  // namespace skipstone::server
