#include "server/ceiling.h"

#include <string>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::server {
namespace {

std::string AttentionOf(const SkipSet& skip, int layer) {
  if (!skip.KeepsAttention(layer)) return "skipped";
  const int window = skip.Window(layer);
  return window == 0 ? "full" : absl::StrFormat("a window of %d tokens", window);
}

// The first layer of which a ceiling that does not contain the choice leaves what it may not:
// "the attention of layer 3 goes from skipped to full".
std::string Shrunk(const SkipSet& chosen, const SkipSet& ceiling) {
  int layer = 0;
  while (ceiling.Below(layer + 1).Contains(chosen.Below(layer + 1))) ++layer;
  if (!chosen.KeepsMlp(layer) && ceiling.KeepsMlp(layer)) {
    return absl::StrFormat("the MLP of layer %d goes from skipped to kept", layer);
  }
  return absl::StrFormat("the attention of layer %d goes from %s to %s", layer,
                         AttentionOf(chosen, layer), AttentionOf(ceiling, layer));
}

absl::Status Refused(const std::string& why) {
  return absl::InvalidArgumentError("skip.adaptive: " + why);
}

// Whether maps may follow the choice's, or nothing in their place.
absl::Status CheckFamily(const Level& chosen, const Level& ceiling) {
  if (!chosen.skip.HasMaps()) return absl::OkStatus();
  if (!chosen.family.empty() && chosen.family == ceiling.family) return absl::OkStatus();
  if (ceiling.skip.HasMaps()) {
    return Refused(absl::StrFormat(
        "the ceiling is of the family '%s', the choice, %s, of '%s': its maps were fitted for "
        "levels of its own",
        ceiling.family, chosen.name, chosen.family));
  }
  if (chosen.sheds_to_identity) return absl::OkStatus();
  return Refused(
      absl::StrFormat("the ceiling has no maps and is not of the family '%s': the level %s is not "
                      "to be shed to a set without maps",
                      chosen.family, chosen.name));
}

// Shedding leaves what lies below the last kept attention as it was chosen.
absl::Status CheckMapsThatStay(const SkipSet& chosen, const SkipSet& ceiling) {
  for (int layer = 0; layer < ceiling.LastKeptAttention(); ++layer) {
    const bool attention =
        !chosen.KeepsAttention(layer) && chosen.AttentionMap(layer) != ceiling.AttentionMap(layer);
    const bool mlp = !chosen.KeepsMlp(layer) && chosen.MlpMap(layer) != ceiling.MlpMap(layer);
    if (!attention && !mlp) continue;
    return Refused(absl::StrFormat(
        "the ceiling has another map in place of the %s of layer %d than the choice: K and V of "
        "the layers that are kept above depend on it",
        attention ? "attention" : "MLP", layer));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCeiling(const Level& chosen, const Level& ceiling) {
  if (!ceiling.skip.Contains(chosen.skip)) {
    return Refused(absl::StrFormat("the ceiling %s does not contain the choice %s: %s",
                                   ceiling.skip.ToString(), chosen.skip.ToString(),
                                   Shrunk(chosen.skip, ceiling.skip)));
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckFamily(chosen, ceiling));
  return CheckMapsThatStay(chosen.skip, ceiling.skip);
}

}  // namespace skipstone::server
