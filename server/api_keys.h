// Who may call: the configuration's keys, known by their SHA-256 only, each with what its holder
// may ask for and how much of it.
//
//   authorization: Bearer KEY
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/levels.h"
#include "server/quota.h"
#include "server/server_config.h"

namespace skipstone::server {

// What metrics call all that have no key; no tenant's name.
inline constexpr char kOtherTenants[] = "other";

struct ApiKey {
  std::array<uint8_t, 32> sha256{};
  std::string tenant;
  bool admin = false;
  std::set<std::string> levels;  // that may be named; empty: all, and sets of the caller's own
  int max_skipped_attention = 0;
  absl::Time expires = absl::InfiniteFuture();
  std::shared_ptr<Quota> requests, tokens;  // shared with the key of later configurations

  // Of a level that a request names as its choice or its ceiling, kCustomLevel for a set of its
  // own, and of what that skips: PERMISSION_DENIED names `field` and the limit.
  absl::Status Check(const char* field, const std::string& level, const SkipSet& skip) const;
};

// Immutable but for what is left, and thread-safe.
class ApiKeys {
 public:
  // INVALID_ARGUMENT names the tenant: a hash that is none or stands there twice, a level that does
  // not exist, a time that is none. `previous`, which may be null: keys go on with what they have
  // left.
  static absl::StatusOr<ApiKeys> Make(const std::vector<ApiKeyConfig>& configs,
                                      const Levels& levels, const ApiKeys* previous);

  // Without keys everybody may call.
  bool empty() const { return keys_.empty(); }
  enum class Refusal { kMissing, kUnknown, kExpired };
  struct Found {
    std::shared_ptr<const ApiKey> key;  // null: it is refused
    Refusal refusal = Refusal::kMissing;
  };
  // `authorization`: the metadata of that name. Compares with all keys in constant time.
  Found Find(const std::optional<std::string>& authorization, absl::Time now) const;

 private:
  std::vector<std::shared_ptr<const ApiKey>> keys_;
};

const char* NameOf(ApiKeys::Refusal refusal);  // "missing", "unknown", "expired"

}  // namespace skipstone::server
