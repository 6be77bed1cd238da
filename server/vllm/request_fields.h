// What a request says of itself beside the fields of vLLM's dialect, which has none for it: in
// front of its id, where gateways let it through, or in the call's metadata.
//
//   request_id: skip=attn:last=33%;unit=alice;cmpl-0123
//   x-skipstone-level: attn-25
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

struct RequestFields {
  std::map<std::string, std::string> values;  // by key: skip, level, unit, priority, salt
  std::string id;                             // what follows them
};

// Of "(key=value;)*rest". One that does not begin with one of the keys is an id as a whole.
// INVALID_ARGUMENT: another key behind one of them, a key that comes twice, no rest.
absl::StatusOr<RequestFields> FieldsOf(const std::string& request_id);
// The id alone, of one that FieldsOf takes; any other as it is.
std::string IdOf(const std::string& request_id);

// Sets them in `request`, id included; those of the id count before those of the metadata.
// INVALID_ARGUMENT names what is wrong.
absl::Status SetFields(const std::string& request_id, const grpc::ServerContextBase& context,
                       v1::GenerateRequest& request);

}  // namespace skipstone::server
