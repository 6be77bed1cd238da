#include "server/shadow.h"

#include <utility>

#include "base/hash.h"

namespace skipstone::server {

bool IsShadowed(const std::string& request_id, double fraction) {
  constexpr double kUnit = 0x1p-53;
  return static_cast<double>(Mix64(Fnv1a64(request_id)) >> 11) * kUnit < fraction;
}

ServedTokens::ServedTokens(const EngineRequest& request)
    : shadow_{.tokens = request.prompt,
              .prompt_tokens = static_cast<int>(request.prompt.size()),
              .skip = request.skip,
              .cache_salt = request.cache_salt},
      labels_(request.labels) {}

void ServedTokens::OnAccepted(const AcceptedInfo& accepted) {
  enlarged_ = accepted.skip != shadow_.skip;
}

void ServedTokens::OnDelta(const OutputDelta& delta) {
  if (delta.index != 0) return;
  for (const GeneratedToken& token : delta.tokens) shadow_.tokens.push_back(token.token.id);
}

void ServedTokens::OnFinished(const OutputFinished& finished) {
  if (finished.index == 0) enlarged_ |= !finished.applied.empty();
}

void ServedTokens::Score(Engine& engine, Metrics& metrics, OnShadow done) && {
  if (enlarged_) metrics.OnShadowDropped(labels_, "enlarged");
  if (enlarged_ || std::ssize(shadow_.tokens) <= shadow_.prompt_tokens) return done(std::nullopt);
  engine.Shadow(std::move(shadow_), [&metrics, labels = labels_, done = std::move(done)](
                                        const std::optional<ShadowResult>& result) {
    result ? metrics.OnShadow(labels, *result) : metrics.OnShadowDropped(labels, "load");
    done(result);
  });
}

}  // namespace skipstone::server
