#include "server/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace skipstone::server {
namespace {

using Hash = std::array<uint8_t, SHA256_DIGEST_LENGTH>;

absl::Status Wrong(const ApiKeyConfig& config, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrFormat("keys: %s: %s", config.tenant, what));
}

absl::StatusOr<Hash> HashOf(const ApiKeyConfig& config) {
  Hash hash;
  const auto is_hex = [](char c) { return absl::ascii_isxdigit(c); };
  if (config.sha256.size() != 2 * hash.size() || !std::ranges::all_of(config.sha256, is_hex)) {
    return Wrong(config, "sha256: 64 hexadecimal digits are wanted");
  }
  const std::string bytes = absl::HexStringToBytes(config.sha256);
  std::ranges::copy(bytes, hash.begin());
  return hash;
}

std::shared_ptr<Quota> Continued(const std::shared_ptr<Quota>& quota, double per_minute) {
  if (quota == nullptr) return std::make_shared<Quota>(per_minute);
  quota->SetPerMinute(per_minute);
  return quota;
}

}  // namespace

absl::Status ApiKey::Check(const char* field, const std::string& level, const SkipSet& skip) const {
  if (!levels.empty() && !levels.contains(level)) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "%s: this key may not choose '%s'; it may: %s", field, level, absl::StrJoin(levels, ", ")));
  }
  if (skip.SkippedAttention() <= max_skipped_attention) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrFormat("%s: %d attention sublayers are skipped, this key may skip %d", field,
                      skip.SkippedAttention(), max_skipped_attention));
}

absl::StatusOr<ApiKeys> ApiKeys::Make(const std::vector<ApiKeyConfig>& configs,
                                      const Levels& levels, const ApiKeys* previous) {
  ApiKeys keys;
  std::vector<std::pair<std::shared_ptr<ApiKey>, const ApiKeyConfig*>> made;
  for (const ApiKeyConfig& config : configs) {
    auto key = std::make_shared<ApiKey>();
    SKIPSTONE_ASSIGN_OR_RETURN(key->sha256, HashOf(config));
    for (const auto& other : keys.keys_) {
      if (other->sha256 == key->sha256) return Wrong(config, "sha256: another key has it, too");
    }
    key->tenant = config.tenant;
    if (key->tenant == kOtherTenants) {
      return Wrong(config, "this name stands for all that have no key");
    }
    key->admin = config.role == "admin";
    for (const std::string& level : config.levels) {
      if (const auto known = levels.Find(level); !known.ok()) {
        return Wrong(config, std::string(known.status().message()));
      }
      key->levels.insert(level);
    }
    SKIPSTONE_ASSIGN_OR_RETURN(
        key->max_skipped_attention,
        ParseMaximum(absl::StrFormat("keys: %s: max_skipped_attention", config.tenant),
                     config.max_skipped_attention, levels.num_layers()));
    std::string error;
    if (!config.expires.empty() &&
        !absl::ParseTime(absl::RFC3339_full, config.expires, &key->expires, &error)) {
      return Wrong(config, "expires: " + error + "; a time is 2026-12-31T00:00:00Z");
    }
    keys.keys_.push_back(key);
    made.emplace_back(std::move(key), &config);
  }
  // From here on nothing fails, so a configuration that is refused changes no quota.
  for (const auto& [key, config] : made) {
    std::shared_ptr<Quota> requests, tokens;
    if (previous != nullptr) {
      for (const auto& before : previous->keys_) {
        if (before->sha256 != key->sha256) continue;
        requests = before->requests;
        tokens = before->tokens;
      }
    }
    key->requests = Continued(requests, config->requests_per_minute);
    key->tokens = Continued(tokens, config->tokens_per_minute);
  }
  return keys;
}

ApiKeys::Found ApiKeys::Find(const std::optional<std::string>& authorization,
                             absl::Time now) const {
  constexpr absl::string_view kScheme = "Bearer ";
  if (!authorization || !absl::StartsWithIgnoreCase(*authorization, kScheme)) {
    return {.refusal = Refusal::kMissing};
  }
  const absl::string_view secret = absl::string_view(*authorization).substr(kScheme.size());
  Hash hash;
  SHA256(reinterpret_cast<const uint8_t*>(secret.data()), secret.size(), hash.data());
  std::shared_ptr<const ApiKey> found;
  for (const auto& key : keys_) {
    if (CRYPTO_memcmp(key->sha256.data(), hash.data(), hash.size()) == 0) found = key;
  }
  if (found == nullptr) return {.refusal = Refusal::kUnknown};
  if (found->expires <= now) return {.refusal = Refusal::kExpired};
  return {.key = std::move(found)};
}

const char* NameOf(ApiKeys::Refusal refusal) {
  constexpr const char* kNames[] = {"missing", "unknown", "expired"};
  return kNames[static_cast<int>(refusal)];
}

}  // namespace skipstone::server
