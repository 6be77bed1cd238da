#include "client/cli/workload.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace skipstone::client {

absl::StatusOr<TokenRange> ParseTokenRange(const std::string& flag, const std::string& text) {
  const std::vector<absl::string_view> ends = absl::StrSplit(text, '-');
  TokenRange range;
  if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &range.min) ||
      !absl::SimpleAtoi(ends.back(), &range.max) || range.min < 1 || range.max < range.min) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--%s: \"%s\" is not N or A-B with 1 <= A <= B", flag, text));
  }
  return range;
}

Workload::Workload(WorkloadOptions options, std::vector<MixPart> mix)
    : options_(std::move(options)), mix_(std::move(mix)), random_(options_.seed) {}

std::optional<PlannedRequest> Workload::Next(double now_s) {
  if (options_.max_requests && num_requests_ >= *options_.max_requests) return std::nullopt;
  PlannedRequest request;
  if (!options_.trace.empty()) {
    if (num_requests_ >= options_.trace.size()) return std::nullopt;
    const TraceRow& row = options_.trace[num_requests_];
    // Traces hold requests of no token at all; the server refuses them.
    request = {.arrival_s = row.arrival_s * options_.time_scale,
               .prompt_tokens = std::max(row.prompt_tokens, 1u),
               .output_tokens = std::max(row.output_tokens, 1u)};
  } else {
    const auto draw = [this](const TokenRange& range) {
      return std::uniform_int_distribution<uint32_t>(range.min, range.max)(random_);
    };
    request.prompt_tokens = draw(options_.prompt_tokens);
    request.output_tokens = draw(options_.output_tokens);
    request.arrival_s =
        options_.rate
            ? last_arrival_s_ + std::exponential_distribution<double>(*options_.rate)(random_)
            : now_s;
  }
  if (options_.max_seconds && request.arrival_s >= *options_.max_seconds) return std::nullopt;
  request.part = DrawPart(mix_, random_);
  request.seed = random_();
  FitContext(request);
  last_arrival_s_ = request.arrival_s;
  ++num_requests_;
  return request;
}

void Workload::FitContext(PlannedRequest& request) {
  const uint32_t context = options_.max_context_tokens;
  const uint64_t tokens = uint64_t{request.prompt_tokens} + request.output_tokens;
  if (tokens <= context) return;
  // The output is kept as long as it can be: it is what takes the time.
  request.output_tokens = std::min(request.output_tokens, context - 1);
  request.prompt_tokens = std::min(request.prompt_tokens, context - request.output_tokens);
  ++shortened_;
}

}  // namespace skipstone::client
