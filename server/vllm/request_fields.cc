#include "server/vllm/request_fields.h"

#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "server/rpc.h"

namespace skipstone::server {
namespace {

constexpr const char* kKeys[] = {"skip", "level", "unit", "priority", "salt"};

bool IsKey(const std::string& text) {
  for (const char* key : kKeys) {
    if (text == key) return true;
  }
  return false;
}

absl::Status Wrong(const std::string& why) {
  return absl::InvalidArgumentError("request_id: " + why);
}

}  // namespace

absl::StatusOr<RequestFields> FieldsOf(const std::string& request_id) {
  RequestFields fields;
  size_t at = 0;
  while (true) {
    const size_t end = request_id.find(';', at);
    const size_t equals = request_id.find('=', at);
    if (end == std::string::npos || equals > end) break;
    const std::string key = request_id.substr(at, equals - at);
    if (!IsKey(key)) {
      if (at == 0) break;  // ids are free text
      return Wrong(absl::StrFormat("'%s' is none of skip, level, unit, priority, salt", key));
    }
    if (!fields.values.emplace(key, request_id.substr(equals + 1, end - equals - 1)).second) {
      return Wrong(absl::StrFormat("'%s' comes twice", key));
    }
    at = end + 1;
  }
  fields.id = request_id.substr(at);
  if (at > 0 && fields.id.empty()) return Wrong("an id is wanted behind the last ';'");
  return fields;
}

std::string IdOf(const std::string& request_id) {
  const auto fields = FieldsOf(request_id);
  return fields.ok() ? fields->id : request_id;
}

absl::Status SetFields(const std::string& request_id, const grpc::ServerContextBase& context,
                       v1::GenerateRequest& request) {
  SKIPSTONE_ASSIGN_OR_RETURN(RequestFields fields, FieldsOf(request_id));
  auto& values = fields.values;
  const bool chosen = values.contains("skip") || values.contains("level");
  for (const char* name : kKeys) {
    const std::string key = name;
    if (chosen && (key == "skip" || key == "level")) continue;
    if (auto value = MetadataOf(context, "x-skipstone-" + key)) values.emplace(key, *value);
  }
  if (values.contains("skip") && values.contains("level")) {
    return absl::InvalidArgumentError("skip and level: both choose; one is wanted");
  }
  request.set_request_id(fields.id);
  if (values.contains("skip")) request.mutable_skip()->set_spec(values["skip"]);
  if (values.contains("level")) request.mutable_skip()->set_level(values["level"]);
  if (values.contains("unit")) request.set_experiment_key(values["unit"]);
  if (values.contains("salt")) request.set_cache_salt(values["salt"]);
  if (values.contains("priority")) {
    int priority = 0;
    if (!absl::SimpleAtoi(values["priority"], &priority)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("priority: '%s' is no whole number", values["priority"]));
    }
    request.set_priority(priority);
  }
  return absl::OkStatus();
}

}  // namespace skipstone::server
