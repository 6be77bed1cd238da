// What --json prints: protobuf messages and reports as JSON for machines.
#pragma once

#include <google/protobuf/message.h>

#include <ostream>

#include <nlohmann/json.hpp>

namespace skipstone::client {

// Field names as in the .proto; every scalar field that is set or has no presence; numbers as
// numbers (fixed64, which holds ids, as 16 hexadecimal digits; NaN as null); enums by name.
nlohmann::ordered_json ProtoToJson(const google::protobuf::Message& message);

// Indented, with a newline at the end. Bytes that are not UTF-8 (an error's message, a flag's
// value) become U+FFFD.
void PrintJson(const nlohmann::ordered_json& json, std::ostream& out);

}  // namespace skipstone::client
