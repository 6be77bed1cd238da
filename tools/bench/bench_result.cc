#include "tools/bench/bench_result.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace skipstone {
namespace {

using Json = nlohmann::ordered_json;

double PerSecond(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

// bytes / seconds / read bandwidth
double BandwidthFraction(const Sample& s) {
  return PerSecond(PerSecond(s.cost.bytes(), s.seconds), s.ceilings.bytes_per_s);
}
// FLOPs / seconds / peak
double FlopsFraction(const Sample& s) {
  return PerSecond(PerSecond(s.cost.flops, s.seconds), s.ceilings.flops_per_s);
}
double FloorFraction(const Sample& s) { return PerSecond(s.floor_seconds, s.seconds); }

// Mean of the floor fractions of the decode steps of all arms but the mixed one.
double HomogeneousFloorFraction(const BenchResult& result) {
  double sum = 0;
  int arms = 0;
  for (const ArmResult& arm : result.arms) {
    if (arm.mixed) continue;
    sum += MedianOf(arm.decode, FloorFraction);
    ++arms;
  }
  return arms > 0 ? sum / arms : 0;
}

// Means of a step's stages.
Json StagesJson(const Phase& phase) {
  Json stages = Json::object();
  const double runs = std::max(1, phase.stage_runs);
  for (int s = 0; s < kNumStages; ++s) {
    const StageSum& sum = phase.stages[s];
    stages[NameOf(static_cast<Stage>(s))] = {{"ms", 1e3 * sum.seconds / runs},
                                             {"floor_ms", 1e3 * sum.floor_seconds / runs},
                                             {"bytes", sum.bytes / runs},
                                             {"flops", sum.flops / runs}};
  }
  return stages;
}

void AddDecode(const BenchResult& result, const ArmResult& arm, Json* out) {
  const Phase& phase = arm.decode;
  if (phase.samples.empty()) return;
  const double seconds = MedianOf(phase, &Sample::seconds);
  Json& json = *out;
  json["decode_ms_per_token"] = 1e3 * seconds;
  json["decode_launch_ms"] = 1e3 * MedianOf(phase, &Sample::launch_seconds);
  json["decode_tokens_per_s"] = PerSecond(result.options.batch, seconds);
  json["bytes_per_token"] =
      MedianOf(phase, [](const Sample& s) { return s.cost.bytes(); }) / result.options.batch;
  json["bandwidth_fraction"] = MedianOf(phase, BandwidthFraction);
  json["decode_floor_ms"] = 1e3 * MedianOf(phase, &Sample::floor_seconds);
  json["decode_floor_fraction"] = MedianOf(phase, FloorFraction);
  if (arm.mixed) json["decode_homogeneous_floor_fraction"] = HomogeneousFloorFraction(result);
  json["decode_speedup"] = MedianRatio(result.arms[0].decode, phase, &Sample::seconds);
  json["decode_floor_speedup"] = MedianRatio(result.arms[0].decode, phase, &Sample::floor_seconds);
  if (result.options.stages) json["decode_stages"] = StagesJson(phase);
}

void AddPrefill(const BenchResult& result, const ArmResult& arm, Json* out) {
  const Phase& phase = arm.prefill;
  if (phase.samples.empty()) return;
  const double seconds = MedianOf(phase, &Sample::seconds);
  Json& json = *out;
  json["prefill_tokens_per_s"] = PerSecond(result.options.prompt, seconds);
  json["prefill_ms"] = 1e3 * seconds;
  json["prefill_launch_ms"] = 1e3 * MedianOf(phase, &Sample::launch_seconds);
  json["prefill_flops"] = MedianOf(phase, [](const Sample& s) { return s.cost.flops; });
  json["flops_fraction"] = MedianOf(phase, FlopsFraction);
  json["prefill_floor_ms"] = 1e3 * MedianOf(phase, &Sample::floor_seconds);
  json["prefill_floor_fraction"] = MedianOf(phase, FloorFraction);
  json["prefill_speedup"] = MedianRatio(result.arms[0].prefill, phase, &Sample::seconds);
  json["prefill_floor_speedup"] =
      MedianRatio(result.arms[0].prefill, phase, &Sample::floor_seconds);
  if (result.options.stages) json["prefill_stages"] = StagesJson(phase);
}

Json ArmJson(const BenchResult& result, const ArmResult& arm) {
  Json json = {{"skip", arm.skip}};
  AddDecode(result, arm, &json);
  AddPrefill(result, arm, &json);
  json["kv_pages_used"] = arm.kv_pages_used;
  return json;
}

Ceilings MedianCeilings(const BenchResult& result) {
  std::vector<double> bytes, flops;
  for (const Ceilings& c : result.ceilings) {
    bytes.push_back(c.bytes_per_s);
    flops.push_back(c.flops_per_s);
  }
  return {Median(bytes), Median(flops)};
}

std::string FlopsText(double flops_per_s) {
  return flops_per_s >= 1e12 ? absl::StrFormat("%.1f TFLOP/s", flops_per_s / 1e12)
                             : absl::StrFormat("%.1f GFLOP/s", flops_per_s / 1e9);
}

// What of its bytes and FLOPs takes longer at the ceilings, and its share of that ceiling.
std::string RateText(const StageSum& sum, const Ceilings& ceilings) {
  const double flops = PerSecond(sum.flops, sum.seconds);
  const double bytes = PerSecond(sum.bytes, sum.seconds);
  if (sum.flops * ceilings.bytes_per_s > sum.bytes * ceilings.flops_per_s) {
    return absl::StrFormat("%s, %5.1f%% of peak", FlopsText(flops),
                           100 * PerSecond(flops, ceilings.flops_per_s));
  }
  return absl::StrFormat("%.1f GB/s, %5.1f%% of bandwidth", bytes / 1e9,
                         100 * PerSecond(bytes, ceilings.bytes_per_s));
}

void AddStages(const char* name, const Phase& phase, const Ceilings& ceilings, std::string* text) {
  if (phase.stage_runs == 0) return;
  absl::StrAppendFormat(text, "    %s, mean of a step's stages:\n", name);
  for (int s = 0; s < kNumStages; ++s) {
    const StageSum& sum = phase.stages[s];
    absl::StrAppendFormat(text, "      %-8s %9.3f ms, floor %9.3f, %s\n",
                          NameOf(static_cast<Stage>(s)), 1e3 * sum.seconds / phase.stage_runs,
                          1e3 * sum.floor_seconds / phase.stage_runs, RateText(sum, ceilings));
  }
}

void AddDecodeLine(const BenchResult& result, const ArmResult& arm, std::string* text) {
  const Phase& d = arm.decode;
  if (d.samples.empty()) return;
  absl::StrAppendFormat(
      text,
      "  decode  %9.3f ms/token, floor %9.3f, %5.1f%% of floor, %5.1f%% of bandwidth, launch "
      "%.3f ms, speed-up %.3f, of floors %.3f\n",
      1e3 * MedianOf(d, &Sample::seconds), 1e3 * MedianOf(d, &Sample::floor_seconds),
      100 * MedianOf(d, FloorFraction), 100 * MedianOf(d, BandwidthFraction),
      1e3 * MedianOf(d, &Sample::launch_seconds),
      MedianRatio(result.arms[0].decode, d, &Sample::seconds),
      MedianRatio(result.arms[0].decode, d, &Sample::floor_seconds));
  if (arm.mixed) {
    absl::StrAppendFormat(text, "  the others' mean %5.1f%% of floor\n",
                          100 * HomogeneousFloorFraction(result));
  }
}

void AddPrefillLine(const BenchResult& result, const ArmResult& arm, std::string* text) {
  const Phase& p = arm.prefill;
  if (p.samples.empty()) return;
  absl::StrAppendFormat(
      text,
      "  prefill %9.1f tokens/s, %8.3f ms, floor %8.3f, %5.1f%% of floor, %5.1f%% of peak, launch "
      "%.3f ms, speed-up %.3f, of floors %.3f\n",
      PerSecond(result.options.prompt, MedianOf(p, &Sample::seconds)),
      1e3 * MedianOf(p, &Sample::seconds), 1e3 * MedianOf(p, &Sample::floor_seconds),
      100 * MedianOf(p, FloorFraction), 100 * MedianOf(p, FlopsFraction),
      1e3 * MedianOf(p, &Sample::launch_seconds),
      MedianRatio(result.arms[0].prefill, p, &Sample::seconds),
      MedianRatio(result.arms[0].prefill, p, &Sample::floor_seconds));
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double MedianOf(const Phase& phase, const SampleValue& value) {
  std::vector<double> values;
  for (const Sample& sample : phase.samples) values.push_back(value(sample));
  return Median(std::move(values));
}

double MedianRatio(const Phase& base, const Phase& phase, const SampleValue& value) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(base.samples.size(), phase.samples.size()); ++i) {
    const double divisor = value(phase.samples[i]);
    if (divisor > 0) ratios.push_back(value(base.samples[i]) / divisor);
  }
  return Median(std::move(ratios));
}

std::string ToJson(const BenchResult& result) {
  const BenchOptions& o = result.options;
  const Ceilings ceilings = MedianCeilings(result);
  Json json = {{"model", o.model},
               {"backend", result.backend},
               {"threads", result.threads},
               {"batch", o.batch},
               {"context", o.context},
               {"prompt", o.prompt},
               {"chunk", o.chunk},
               {"steps", o.steps},
               {"rounds", o.rounds},
               {"page_tokens", o.page_tokens},
               {"weight_bytes", result.weight_bytes},
               {"read_bandwidth_bytes_per_s", ceilings.bytes_per_s},
               {"peak_flops_per_s", ceilings.flops_per_s},
               {"peak_flops_kind", result.flops_kind}};
  const Json first = ArmJson(result, result.arms[0]);
  for (const auto& [key, value] : first.items()) json[key] = value;
  json["skips"] = Json::array();
  for (const ArmResult& arm : result.arms) json["skips"].push_back(ArmJson(result, arm));
  return json.dump(2) + "\n";
}

std::string ToTable(const BenchResult& result) {
  const BenchOptions& o = result.options;
  const Ceilings ceilings = MedianCeilings(result);
  std::string text = absl::StrFormat("%s on %s, %d threads, weights %.2f GB\n", o.model,
                                     result.backend, result.threads, result.weight_bytes / 1e9);
  text += result.ceilings.empty()
              ? std::string("no measured ceilings: no floors\n")
              : absl::StrFormat("measured ceilings: read %.1f GB/s, %s (%s)\n",
                                ceilings.bytes_per_s / 1e9, FlopsText(ceilings.flops_per_s),
                                result.flops_kind);
  absl::StrAppendFormat(
      &text, "decode: batch %d, context %d; prefill: prompt %d in chunks of %d; %d rounds\n",
      o.batch, o.context, o.prompt, o.chunk, o.rounds);
  for (const ArmResult& arm : result.arms) {
    absl::StrAppendFormat(&text, "%s: %d pages\n", arm.skip, arm.kv_pages_used);
    AddDecodeLine(result, arm, &text);
    AddPrefillLine(result, arm, &text);
    if (!o.stages) continue;
    AddStages("decode", arm.decode, ceilings, &text);
    AddStages("prefill", arm.prefill, ceilings, &text);
  }
  return text;
}

}  // namespace skipstone
