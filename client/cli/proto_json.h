// Protobuf messages as JSON for machines.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace skipstone::client {

// Field names as in the .proto; every scalar field that is set or has no presence; numbers as
// numbers (fixed64, which holds ids, as 16 hexadecimal digits; NaN as null); enums by name.
nlohmann::ordered_json ProtoToJson(const google::protobuf::Message& message);

}  // namespace skipstone::client
