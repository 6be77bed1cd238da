#include "engine/bench/bench_result.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace skipstone {
namespace {

using Json = nlohmann::ordered_json;

template <class Value>
double MedianOf(const Phase& phase, Value value) {
  std::vector<double> values;
  for (const Sample& sample : phase.samples) values.push_back(value(sample));
  return Median(std::move(values));
}

template <class Value>
double MedianRatio(const Phase& a, const Phase& b, Value value) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(a.samples.size(), b.samples.size()); ++i) {
    const double divisor = value(b.samples[i]);
    if (divisor > 0) ratios.push_back(value(a.samples[i]) / divisor);
  }
  return Median(std::move(ratios));
}

double PerSecond(double count, double seconds) { return seconds > 0 ? count / seconds : 0; }

Json StagesJson(const Phase& phase) {
  Json stages = Json::object();
  const double samples = std::max<double>(1, static_cast<double>(phase.samples.size()));
  for (int s = 0; s < kNumStages; ++s) {
    stages[NameOf(static_cast<Stage>(s))] = {
        {"ms", 1e3 * phase.stage_seconds[s] / samples},
        {"floor_ms", 1e3 * phase.stage_floor_seconds[s] / samples}};
  }
  return stages;
}

void AddDecode(const BenchResult& result, const ArmResult& arm, Json* out) {
  const Phase& phase = arm.decode;
  if (phase.samples.empty()) return;
  const double seconds = MedianSeconds(phase);
  Json& json = *out;
  json["decode_ms_per_token"] = 1e3 * seconds;
  json["decode_tokens_per_s"] = PerSecond(result.options.batch, seconds);
  json["bytes_per_token"] =
      MedianOf(phase, [](const Sample& s) { return s.cost.bytes(); }) / result.options.batch;
  json["bandwidth_fraction"] = BandwidthFraction(phase);
  json["decode_floor_ms"] = 1e3 * MedianFloor(phase);
  json["decode_floor_fraction"] = FloorFraction(phase);
  json["decode_speedup"] = SpeedUp(result.arms[0].decode, phase);
  json["decode_floor_speedup"] = FloorSpeedUp(result.arms[0].decode, phase);
  if (result.options.stages) json["decode_stages"] = StagesJson(phase);
}

void AddPrefill(const BenchResult& result, const ArmResult& arm, Json* out) {
  const Phase& phase = arm.prefill;
  if (phase.samples.empty()) return;
  const double seconds = MedianSeconds(phase);
  Json& json = *out;
  json["prefill_tokens_per_s"] = PerSecond(result.options.prompt, seconds);
  json["prefill_ms"] = 1e3 * seconds;
  json["prefill_flops"] = MedianOf(phase, [](const Sample& s) { return s.cost.flops; });
  json["flops_fraction"] = FlopsFraction(phase);
  json["prefill_floor_ms"] = 1e3 * MedianFloor(phase);
  json["prefill_floor_fraction"] = FloorFraction(phase);
  json["prefill_speedup"] = SpeedUp(result.arms[0].prefill, phase);
  json["prefill_floor_speedup"] = FloorSpeedUp(result.arms[0].prefill, phase);
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

void AddStages(const char* name, const Phase& phase, std::string* text) {
  const double samples = static_cast<double>(phase.samples.size());
  if (samples == 0) return;
  absl::StrAppendFormat(text, "    %s, mean of a step's stages:", name);
  for (int s = 0; s < kNumStages; ++s) {
    absl::StrAppendFormat(text, "  %s %.3f ms (floor %.3f)", NameOf(static_cast<Stage>(s)),
                          1e3 * phase.stage_seconds[s] / samples,
                          1e3 * phase.stage_floor_seconds[s] / samples);
  }
  text->push_back('\n');
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double MedianSeconds(const Phase& phase) {
  return MedianOf(phase, [](const Sample& s) { return s.seconds; });
}
double MedianFloor(const Phase& phase) {
  return MedianOf(phase, [](const Sample& s) { return s.floor_seconds; });
}
double BandwidthFraction(const Phase& phase) {
  return MedianOf(phase, [](const Sample& s) {
    return PerSecond(PerSecond(s.cost.bytes(), s.seconds), s.ceilings.bytes_per_s);
  });
}
double FlopsFraction(const Phase& phase) {
  return MedianOf(phase, [](const Sample& s) {
    return PerSecond(PerSecond(s.cost.flops, s.seconds), s.ceilings.flops_per_s);
  });
}
double FloorFraction(const Phase& phase) {
  return MedianOf(phase, [](const Sample& s) { return PerSecond(s.floor_seconds, s.seconds); });
}
double SpeedUp(const Phase& base, const Phase& phase) {
  return MedianRatio(base, phase, [](const Sample& s) { return s.seconds; });
}
double FloorSpeedUp(const Phase& base, const Phase& phase) {
  return MedianRatio(base, phase, [](const Sample& s) { return s.floor_seconds; });
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
               {"peak_flops_per_s", ceilings.flops_per_s}};
  const Json first = ArmJson(result, result.arms[0]);
  for (const auto& [key, value] : first.items()) json[key] = value;
  json["skips"] = Json::array();
  for (const ArmResult& arm : result.arms) json["skips"].push_back(ArmJson(result, arm));
  return json.dump(2) + "\n";
}

std::string ToTable(const BenchResult& result) {
  const BenchOptions& o = result.options;
  const Ceilings ceilings = MedianCeilings(result);
  std::string text = absl::StrFormat(
      "%s on %s, %d threads, weights %.2f GB\n"
      "measured ceilings: read %.1f GB/s, multiply-add %.1f GFLOP/s (f32)\n"
      "decode: batch %d, context %d; prefill: prompt %d in chunks of %d; %d rounds\n",
      o.model, result.backend, result.threads, result.weight_bytes / 1e9,
      ceilings.bytes_per_s / 1e9, ceilings.flops_per_s / 1e9, o.batch, o.context, o.prompt, o.chunk,
      o.rounds);
  for (const ArmResult& arm : result.arms) {
    const Phase& d = arm.decode;
    const Phase& p = arm.prefill;
    absl::StrAppendFormat(&text, "%s: %d pages\n", arm.skip, arm.kv_pages_used);
    if (!d.samples.empty()) {
      absl::StrAppendFormat(&text,
                            "  decode  %9.3f ms/token, floor %9.3f, %5.1f%% of floor, %5.1f%% of "
                            "bandwidth, speed-up %.3f, of floors %.3f\n",
                            1e3 * MedianSeconds(d), 1e3 * MedianFloor(d), 100 * FloorFraction(d),
                            100 * BandwidthFraction(d), SpeedUp(result.arms[0].decode, d),
                            FloorSpeedUp(result.arms[0].decode, d));
    }
    if (!p.samples.empty()) {
      absl::StrAppendFormat(&text,
                            "  prefill %9.1f tokens/s, %8.3f ms, floor %8.3f, %5.1f%% of floor, "
                            "%5.1f%% of peak, speed-up %.3f, of floors %.3f\n",
                            PerSecond(o.prompt, MedianSeconds(p)), 1e3 * MedianSeconds(p),
                            1e3 * MedianFloor(p), 100 * FloorFraction(p), 100 * FlopsFraction(p),
                            SpeedUp(result.arms[0].prefill, p),
                            FloorSpeedUp(result.arms[0].prefill, p));
    }
    if (!o.stages) continue;
    AddStages("decode", d, &text);
    AddStages("prefill", p, &text);
  }
  return text;
}

}  // namespace skipstone
