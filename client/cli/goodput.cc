#include "client/cli/goodput.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace skipstone::client {

bool GoodputLimits::KeptBy(const RequestRecord& record) const {
  if (!record.ok() || record.TtftMs() > ttft_ms || record.E2eMs() > e2e_ms) return false;
  if (record.output_tokens > 1 && record.TpotMs() > tpot_ms) return false;
  return std::all_of(record.gaps_ms.begin(), record.gaps_ms.end(),
                     [this](float gap) { return gap <= itl_ms; });
}

absl::StatusOr<GoodputLimits> ParseGoodput(const std::string& text) {
  GoodputLimits limits;
  const std::map<std::string, double*> targets = {{"ttft", &limits.ttft_ms},
                                                  {"itl", &limits.itl_ms},
                                                  {"tpot", &limits.tpot_ms},
                                                  {"e2e", &limits.e2e_ms}};
  for (const absl::string_view term : absl::StrSplit(text, ',')) {
    const std::vector<std::string> halves = absl::StrSplit(term, ':');
    const auto target = targets.find(halves[0]);
    double limit = 0;
    if (halves.size() != 2 || target == targets.end() || !absl::SimpleAtod(halves[1], &limit) ||
        !(limit > 0)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "--goodput: \"%s\" is not ttft, itl, tpot or e2e, a colon and milliseconds above 0",
          std::string(term)));
    }
    *target->second = limit;
  }
  return limits;
}

}  // namespace skipstone::client
