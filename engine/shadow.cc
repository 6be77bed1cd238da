#include "engine/shadow.h"

#include <cmath>

#include "base/check.h"

namespace skipstone {

ShadowResult ResultOf(const ShadowRows& rows) {
  SKIPSTONE_CHECK(rows.level.size() == rows.full.size());
  ShadowResult result;
  for (size_t i = 0; i < rows.level.size(); ++i) {
    const LogitsResult& level = rows.level[i];
    const LogitsResult& full = rows.full[i];
    const TokenLogprob& likeliest = level.top.at(0);
    result.tokens.push_back({.nll = -level.target.logprob,
                             .kl = level.kl,
                             .confidence = std::exp(likeliest.logprob),
                             .correct = likeliest.id == level.target.id,
                             .agrees = likeliest.id == full.top.at(0).id});
    result.full_nll -= full.target.logprob;
  }
  return result;
}

}  // namespace skipstone
