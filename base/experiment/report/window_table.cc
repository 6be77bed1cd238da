#include "base/experiment/report/window_table.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/experiment/switchback.h"

namespace skipstone::experiment {
namespace {

// How many windows of each arm a block has; empty where the shares of all arms are not known.
std::vector<int> BlockCounts(std::span<const double> shares) {
  std::vector<Arm> arms;
  double sum = 0;
  for (const double share : shares) {
    arms.push_back({absl::StrCat(arms.size()), share});
    sum += share;
  }
  if (std::abs(sum - 1) > 1e-6) return {};
  const auto schedule =
      Switchback::Make("", arms, std::chrono::seconds(60), Switchback::Milliseconds(0));
  if (!schedule.ok()) return {};
  return {schedule->block_counts().begin(), schedule->block_counts().end()};
}

}  // namespace

void WindowTable::Add(const ExposureWindow& window, size_t arm, const WindowSums& request) {
  const auto fits = [&](int64_t other) { return std::abs(window.index - other) < kMostWindows; };
  if (!rows_.empty() && !(fits(rows_.begin()->first) && fits(rows_.rbegin()->first))) {
    ++contradictory_;
    return;
  }
  const auto [found, is_new] = rows_.try_emplace(window.index);
  Row& row = found->second;
  if (is_new) row = {.block = window.block, .arm = static_cast<int>(arm)};
  seconds_ = window.seconds;
  if (row.arm != static_cast<int>(arm) || row.block != window.block) {
    ++contradictory_;
  } else if (!window.counted) {
    ++in_washout_;
  } else if (window.ended_index != window.index) {
    ++ran_on_;
  } else {
    AddTo(row.sums, request);
  }
}

std::map<int64_t, WindowTable::Row> WindowTable::Filled(std::span<const double> shares) const {
  std::map<int64_t, Row> rows = rows_;
  if (rows.empty()) return rows;
  const std::vector<int> counts = BlockCounts(shares);
  int64_t length = 0;
  for (const int count : counts) length += count;
  const int64_t first = rows.begin()->first;
  const int64_t last = rows.rbegin()->first;
  for (int64_t begin = first, end = first; begin <= last; begin = end) {
    // A block where it is known how long they are, else what lies between two windows.
    const auto next = rows.lower_bound(begin);
    const int64_t block = length > 0 ? begin / length : next->second.block;
    end = length > 0 ? std::min((block + 1) * length, last + 1) : next->first + 1;
    std::vector<int> lacking = counts;
    for (auto row = next; row != rows.end() && row->first < end; ++row) {
      if (static_cast<size_t>(row->second.arm) < lacking.size()) --lacking[row->second.arm];
    }
    const bool is_whole = end - begin == length;
    for (int64_t index = begin; index < end; ++index) {
      const auto [row, is_new] = rows.try_emplace(index, Row{.block = block, .arm = -1});
      if (!is_new || !is_whole) continue;
      const auto arm = std::ranges::find_if(lacking, [](int count) { return count > 0; });
      if (arm == lacking.end()) continue;
      --*arm;
      row->second.arm = static_cast<int>(arm - lacking.begin());
    }
  }
  return rows;
}

std::vector<statistics::Window> WindowsOf(const std::map<int64_t, WindowTable::Row>& rows,
                                          const ReportMetric& metric, bool logarithms) {
  std::vector<statistics::Window> windows;
  int block = 0;
  int64_t last_block = 0;
  for (const auto& [index, row] : rows) {
    if (!windows.empty() && row.block != last_block) ++block;
    last_block = row.block;
    const double numerator = row.sums[metric.numerator];
    const double denominator = row.sums[metric.denominator];
    statistics::Window window = {.block = block, .arm = row.arm};
    if (!logarithms && denominator > 0) {
      window.numerator = numerator;
      window.denominator = denominator;
    } else if (logarithms && denominator > 0 && numerator > 0) {
      window.numerator = std::log(numerator / denominator);
      window.denominator = 1;
    }
    windows.push_back(window);
  }
  return windows;
}

}  // namespace skipstone::experiment
