#include "server/abort.h"

#include <optional>
#include <set>
#include <string_view>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/admission.h"

namespace skipstone::server {
namespace {

// Each id costs a look-up on a thread that other calls share.
constexpr size_t kMaxAborts = 1024;

}  // namespace

absl::StatusOr<std::vector<std::string>> Abort(const std::vector<std::string>& request_ids,
                                               const grpc::ServerContextBase& context,
                                               const Serving& serving) {
  if (request_ids.size() > kMaxAborts) {
    return absl::InvalidArgumentError(
        absl::StrFormat("request_ids: %d ids, the limit is %d", request_ids.size(), kMaxAborts));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const auto key,
                             KeyOf(context, *serving.live.current(), serving.metrics));
  std::optional<std::string> owner;
  const bool any = serving.config.allow_abort == "any" || (key && key->admin);
  if (!any) owner = OwnerOf(context, key.get());
  std::vector<std::string> aborted;
  std::set<std::string_view> seen;
  for (const std::string& id : request_ids) {
    if (seen.insert(id).second && serving.engine->Abort(id, owner)) aborted.push_back(id);
  }
  return aborted;
}

}  // namespace skipstone::server
