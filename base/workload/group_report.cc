#include "base/workload/group_report.h"

#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace skipstone {

bool GoodputLimits::KeptBy(const RequestRecord& record) const {
  if (record.output_tokens > 1 && record.Tpot() > tpot_s) return false;
  return record.Ttft() <= ttft_s && Seconds(record.longest_gap) <= itl_s && record.E2e() <= e2e_s;
}

absl::StatusOr<GoodputLimits> ParseGoodput(const std::string& text) {
  GoodputLimits limits;
  const std::map<std::string, double*> targets = {{"ttft", &limits.ttft_s},
                                                  {"itl", &limits.itl_s},
                                                  {"tpot", &limits.tpot_s},
                                                  {"e2e", &limits.e2e_s}};
  for (const absl::string_view term : absl::StrSplit(text, ',')) {
    const std::vector<std::string> halves = absl::StrSplit(term, ':');
    const auto target = targets.find(halves[0]);
    double limit_ms = 0;
    if (halves.size() != 2 || target == targets.end() || !absl::SimpleAtod(halves[1], &limit_ms) ||
        !(limit_ms > 0)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("\"%s\" is not ttft, itl, tpot or e2e, a colon and milliseconds above 0",
                          std::string(term)));
    }
    *target->second = limit_ms / 1e3;  // rounded as Seconds() rounds
  }
  return limits;
}

void GroupReport::Add(const RequestRecord& record, bool request_ok, const GoodputLimits& limits) {
  ++requests;
  if (!request_ok) return;
  ++ok;
  good += limits.KeptBy(record) ? 1 : 0;
  prompt_tokens += record.prompt_tokens;
  output_tokens += record.output_tokens;
  browned_out += record.browned_out ? 1 : 0;
  shed += record.shed ? 1 : 0;
  ttft.Add(record.Ttft());
  e2e.Add(record.E2e());
  if (record.output_tokens > 1) tpot.Add(record.Tpot());
}

}  // namespace skipstone
