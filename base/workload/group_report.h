// Counts and latencies of the requests of one part of a mix, or of all, and the latency limits that
// a good one keeps.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "base/workload/histogram.h"
#include "base/workload/request_record.h"

namespace skipstone {

// What a request must keep to count as good. Seconds; infinite where there is no limit.
struct GoodputLimits {
  double ttft_s = std::numeric_limits<double>::infinity();
  double itl_s = std::numeric_limits<double>::infinity();   // of the longest gap
  double tpot_s = std::numeric_limits<double>::infinity();  // of the mean
  double e2e_s = std::numeric_limits<double>::infinity();

  // Of a request that brought a token.
  bool KeptBy(const RequestRecord& record) const;
};

// "ttft:500,itl:50": any of ttft, itl, tpot, e2e with a limit above 0 in milliseconds.
// INVALID_ARGUMENT names the term.
absl::StatusOr<GoodputLimits> ParseGoodput(const std::string& text);

// Requests that failed count in `requests` and nowhere else.
struct GroupReport {
  std::string name;
  int64_t requests = 0;
  int64_t ok = 0;
  int64_t good = 0;  // kept the goodput limits
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  int64_t browned_out = 0;  // started at their ceiling
  int64_t shed = 0;         // shed layers while they ran
  Histogram ttft;
  Histogram itl;   // the caller adds the gaps
  Histogram tpot;  // of requests with two tokens or more
  Histogram e2e;

  void Add(const RequestRecord& record, bool request_ok, const GoodputLimits& limits);

  // Into a JSON object of any library; nlohmann's writes a number that is none as null.
  template <class Json>
  void WriteTo(Json& json, double seconds) const;
};

// 0 in no time.
inline double PerSecond(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

template <class Json>
void WriteMilliseconds(const Histogram& histogram, Json& json) {
  json["count"] = histogram.count();
  json["mean"] = 1e3 * histogram.mean();
  json["p50"] = 1e3 * histogram.Percentile(50);
  json["p90"] = 1e3 * histogram.Percentile(90);
  json["p99"] = 1e3 * histogram.Percentile(99);
  json["max"] = 1e3 * histogram.max();
}

template <class Json>
void GroupReport::WriteTo(Json& json, double seconds) const {
  json["requests"] = requests;
  json["prompt_tokens"] = prompt_tokens;
  json["output_tokens"] = output_tokens;
  json["requests_per_s"] = PerSecond(ok, seconds);
  json["output_tokens_per_s"] = PerSecond(output_tokens, seconds);
  json["total_tokens_per_s"] = PerSecond(prompt_tokens + output_tokens, seconds);
  json["browned_out"] = browned_out;
  json["shed"] = shed;
  WriteMilliseconds(ttft, json["ttft_ms"]);
  WriteMilliseconds(itl, json["itl_ms"]);
  WriteMilliseconds(tpot, json["tpot_ms"]);
  WriteMilliseconds(e2e, json["e2e_ms"]);
}

}  // namespace skipstone
