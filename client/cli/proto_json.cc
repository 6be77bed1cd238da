#include "client/cli/proto_json.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

// One value of a field: element `index` of a repeated one, or the single one (index -1).
Json ValueOf(const Message& message, const FieldDescriptor* field, int index) {
  using R = google::protobuf::Reflection;
  const R& reflection = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (reflection.*single)(message, field)
                     : (reflection.*repeated)(message, field, index);
  };
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return get(&R::GetInt32, &R::GetRepeatedInt32);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get(&R::GetUInt32, &R::GetRepeatedUInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return get(&R::GetInt64, &R::GetRepeatedInt64);
    case FieldDescriptor::CPPTYPE_UINT64: {
      const uint64_t value = get(&R::GetUInt64, &R::GetRepeatedUInt64);
      if (field->type() != FieldDescriptor::TYPE_FIXED64) return value;
      return absl::StrFormat("%016x", value);
    }
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return get(&R::GetDouble, &R::GetRepeatedDouble);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return get(&R::GetFloat, &R::GetRepeatedFloat);
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&R::GetBool, &R::GetRepeatedBool);
    case FieldDescriptor::CPPTYPE_ENUM:
      return get(&R::GetEnum, &R::GetRepeatedEnum)->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return get(&R::GetString, &R::GetRepeatedString);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ProtoToJson(index < 0 ? reflection.GetMessage(message, field)
                                   : reflection.GetRepeatedMessage(message, field, index));
  }
  return nullptr;
}

}  // namespace

Json ProtoToJson(const Message& message) {
  Json json = Json::object();
  const google::protobuf::Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->is_repeated()) {
      Json& array = json[field->name()] = Json::array();
      const int size = message.GetReflection()->FieldSize(message, field);
      for (int k = 0; k < size; ++k) array.push_back(ValueOf(message, field, k));
    } else if (!field->has_presence() || message.GetReflection()->HasField(message, field)) {
      json[field->name()] = ValueOf(message, field, -1);
    }
  }
  return json;
}

void PrintJson(const Json& json, std::ostream& out) {
  out << json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) << '\n';
}

}  // namespace skipstone::client
