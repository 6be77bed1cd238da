#include "client/cli/generation.h"

#include <limits>

#include "absl/strings/str_format.h"
#include "base/table.h"
#include "client/cli/proto_json.h"

namespace skipstone::client {

using std::chrono::duration;

double GeneratedOutput::TokensPerSecond() const {
  const uint32_t tokens = finished ? finished->usage().completion_tokens() : 0;
  if (tokens < 2 || !first_delta || *last_delta == *first_delta) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return (tokens - 1) / duration<double>(*last_delta - *first_delta).count();
}

void Generation::Add(const v1::GenerateEvent& event, std::chrono::steady_clock::time_point now) {
  switch (event.event_case()) {
    case v1::GenerateEvent::kAccepted:
      accepted_ = event.accepted();
      break;
    case v1::GenerateEvent::kDelta: {
      GeneratedOutput& output = outputs_[event.delta().index()];
      output.text += event.delta().text();
      output.tokens.insert(output.tokens.end(), event.delta().tokens().begin(),
                           event.delta().tokens().end());
      output.prompt_tokens.insert(output.prompt_tokens.end(), event.delta().prompt_tokens().begin(),
                                  event.delta().prompt_tokens().end());
      if (!output.first_delta) output.first_delta = now;
      output.last_delta = now;
      break;
    }
    case v1::GenerateEvent::kFinished:
      outputs_[event.finished().index()].finished = event.finished();
      break;
    case v1::GenerateEvent::EVENT_NOT_SET:
      break;
  }
}

double Generation::TtftMs(const GeneratedOutput& output) const {
  if (!output.first_delta) return std::numeric_limits<double>::quiet_NaN();
  return duration<double, std::milli>(*output.first_delta - sent_).count();
}

std::string Generation::SummaryLine(const GeneratedOutput& output) const {
  const v1::Finished& finished = *output.finished;
  const v1::AppliedSkip& skip = accepted_.applied_skip();
  std::string line = absl::StrFormat(
      "%d prompt tokens, %d tokens, %s tokens/s, TTFT %s ms, "
      "KV pages %d used + %d windowed + %d omitted, skip %s (%s)",
      accepted_.prompt_tokens(), finished.usage().completion_tokens(),
      FormatNumber(output.TokensPerSecond()), FormatNumber(TtftMs(output)),
      finished.kv_pages_used(), finished.kv_pages_windowed(), finished.kv_pages_omitted(),
      skip.level(), skip.spec());
  if (skip.has_compensation()) {
    absl::StrAppendFormat(&line, ", compensation %s", skip.compensation().name());
  }
  if (!skip.experiment().empty()) {
    absl::StrAppendFormat(&line, ", arm %s/%s", skip.experiment(), skip.arm());
  }
  if (accepted_.browned_out()) line += ", browned out";
  for (const v1::AppliedRange& range : finished.applied()) {
    absl::StrAppendFormat(&line, ", from token %d %s", range.from_token(),
                          range.applied_skip().spec());
  }
  return line + ", " + v1::FinishReason_Name(finished.reason());
}

nlohmann::ordered_json Generation::ToJson() const {
  nlohmann::ordered_json json = ProtoToJson(accepted_);
  json["outputs"] = nlohmann::ordered_json::array();
  for (const auto& [index, output] : outputs_) {
    nlohmann::ordered_json item = {{"index", index}, {"text", output.text}};
    for (const v1::Token& token : output.tokens) item["tokens"].push_back(ProtoToJson(token));
    for (const v1::Token& token : output.prompt_tokens) {
      item["prompt_tokens"].push_back(ProtoToJson(token));
    }
    item["ttft_ms"] = TtftMs(output);
    item["tokens_per_s"] = output.TokensPerSecond();
    if (output.finished) item.update(ProtoToJson(*output.finished));
    json["outputs"].push_back(std::move(item));
  }
  return json;
}

}  // namespace skipstone::client
