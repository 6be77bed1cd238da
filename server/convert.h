// Between the wire and the engine: requests in (with every bound of the contract checked), events
// out. Pure functions; INVALID_ARGUMENT names field, value and limit.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/request_fields.h"
#include "engine/model/tokenizer.h"
#include "engine/request.h"
#include "server/levels.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

struct PromptRules {
  const Tokenizer& tokenizer;
  const std::vector<int32_t>& eos_ids;
  int vocab = 0;
  int max_context = std::numeric_limits<int>::max();  // tokens, prompt and output
};

// Of a text no more is encoded than the context or `limit` has room for.
absl::StatusOr<std::vector<int32_t>> ChatIds(const v1::Chat& chat, const PromptRules& rules,
                                             const TokenLimit& limit = {});
// Of a text with the beginning-of-sequence token, or ids as they are.
absl::StatusOr<std::vector<int32_t>> TextOrIds(const v1::TextOrIds& value, const std::string& field,
                                               const PromptRules& rules);

// INVALID_ARGUMENT names field, value and limit.
absl::Status CheckField(const char* path, double value, const FieldLimits& limits);

// The fields of base/request_fields.h that are given, each within its limits; whole numbers stay
// within an int.
absl::Status ReadFields(const v1::GenerateRequest& from, EngineRequest& to);

// Everything of the request but prompt, skip, id and times. A seed that is not given stays 0.
absl::StatusOr<EngineRequest> EngineRequestOf(const v1::GenerateRequest& request,
                                              const PromptRules& rules);

// The ids that an item is scored on; *score_from is the first scored one.
absl::StatusOr<std::vector<int32_t>> ScoreIds(const v1::ScoreItem& item, const PromptRules& rules,
                                              int* score_from);

v1::Token TokenOf(GeneratedToken token);
// `with_tokens`: keep the generated tokens, not only their text.
void SetDelta(OutputDelta from, bool with_tokens, v1::Delta* to);
// Deltas of one output are one, when joined in order.
void AppendDelta(const v1::Delta& more, v1::Delta* to);
v1::Finished FinishedOf(const OutputFinished& finished);

}  // namespace skipstone::server
