#include "base/workload/group_report.h"

namespace skipstone {

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
