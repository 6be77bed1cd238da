#include "client/cli/proto_json.h"

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

// Reads one value of a field: element `index` of a repeated one, or the single one (index -1).
class FieldValue {
 public:
  FieldValue(const Message& message, const FieldDescriptor* field, int index)
      : message_(message), reflection_(*message.GetReflection()), field_(field), index_(index) {}

 private:
  template <typename Single, typename Repeated>
  auto Get(Single single, Repeated repeated) const {
    return index_ < 0 ? (reflection_.*single)(message_, field_)
                      : (reflection_.*repeated)(message_, field_, index_);
  }

 public:
  Json ToJson() const {
    using R = google::protobuf::Reflection;
    switch (field_->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Get(&R::GetInt32, &R::GetRepeatedInt32);
      case FieldDescriptor::CPPTYPE_UINT32:
        return Get(&R::GetUInt32, &R::GetRepeatedUInt32);
      case FieldDescriptor::CPPTYPE_INT64:
        return Get(&R::GetInt64, &R::GetRepeatedInt64);
      case FieldDescriptor::CPPTYPE_UINT64: {
        const uint64_t value = Get(&R::GetUInt64, &R::GetRepeatedUInt64);
        if (field_->type() != FieldDescriptor::TYPE_FIXED64) return value;
        return absl::StrFormat("%016x", value);
      }
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return Get(&R::GetDouble, &R::GetRepeatedDouble);
      case FieldDescriptor::CPPTYPE_FLOAT:
        return Get(&R::GetFloat, &R::GetRepeatedFloat);
      case FieldDescriptor::CPPTYPE_BOOL:
        return Get(&R::GetBool, &R::GetRepeatedBool);
      case FieldDescriptor::CPPTYPE_ENUM:
        return Get(&R::GetEnum, &R::GetRepeatedEnum)->name();
      case FieldDescriptor::CPPTYPE_STRING:
        return Get(&R::GetString, &R::GetRepeatedString);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return ProtoToJson(index_ < 0 ? reflection_.GetMessage(message_, field_)
                                      : reflection_.GetRepeatedMessage(message_, field_, index_));
    }
    return nullptr;
  }

 private:
  const Message& message_;
  const google::protobuf::Reflection& reflection_;
  const FieldDescriptor* field_;
  int index_;
};

}  // namespace

Json ProtoToJson(const Message& message) {
  Json json = Json::object();
  const google::protobuf::Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->is_repeated()) {
      Json& array = json[field->name()] = Json::array();
      const int size = message.GetReflection()->FieldSize(message, field);
      for (int k = 0; k < size; ++k) array.push_back(FieldValue(message, field, k).ToJson());
    } else if (!field->has_presence() || message.GetReflection()->HasField(message, field)) {
      json[field->name()] = FieldValue(message, field, -1).ToJson();
    }
  }
  return json;
}

void PrintJson(const Json& json, std::ostream& out) {
  out << json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) << '\n';
}

}  // namespace skipstone::client
