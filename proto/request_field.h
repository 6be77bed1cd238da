// A field of GenerateRequest, or of a message in it, by its path: "n", "sampling.top_p".
#pragma once

#include <string>

#include "google/protobuf/message.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone {

struct RequestField {
  explicit RequestField(const std::string& path) {
    const size_t dot = path.find('.');
    const auto* message = v1::GenerateRequest::descriptor();
    if (dot != std::string::npos) {
      group = message->FindFieldByName(path.substr(0, dot));
      message = group->message_type();
    }
    field = message->FindFieldByName(path.substr(dot + 1));
  }

  // The message that has the field; it is made where it is to be changed.
  const google::protobuf::Message& In(const v1::GenerateRequest& request) const {
    return group != nullptr ? request.GetReflection()->GetMessage(request, group) : request;
  }
  google::protobuf::Message& In(v1::GenerateRequest& request) const {
    return group != nullptr ? *request.GetReflection()->MutableMessage(&request, group) : request;
  }

  // What visit(&Reflection::GetFloat, &Reflection::SetFloat) returns, and so on, by type.
  template <class Visit>
  auto Access(const Visit& visit) const {
    using google::protobuf::FieldDescriptor;
    using R = google::protobuf::Reflection;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_FLOAT:
        return visit(&R::GetFloat, &R::SetFloat);
      case FieldDescriptor::CPPTYPE_INT32:
        return visit(&R::GetInt32, &R::SetInt32);
      case FieldDescriptor::CPPTYPE_UINT32:
        return visit(&R::GetUInt32, &R::SetUInt32);
      case FieldDescriptor::CPPTYPE_UINT64:
        return visit(&R::GetUInt64, &R::SetUInt64);
      case FieldDescriptor::CPPTYPE_BOOL:
        return visit(&R::GetBool, &R::SetBool);
      default:
        return visit(&R::GetString, &R::SetString);
    }
  }

  const google::protobuf::FieldDescriptor* group = nullptr;  // null: the request itself
  const google::protobuf::FieldDescriptor* field = nullptr;
};

}  // namespace skipstone
