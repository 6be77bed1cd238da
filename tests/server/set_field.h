// Sets the field of a request that a row of base/request_fields.h names.
#pragma once

#include <string>
#include <type_traits>

#include "proto/request_field.h"

namespace skipstone::server {

// Of a text `value` is the length.
inline void SetField(v1::GenerateRequest& request, const std::string& path, double value) {
  const RequestField field(path);
  auto& message = field.In(request);
  field.Access([&]<class T>(auto, void (google::protobuf::Reflection::*set)(
                                      google::protobuf::Message*,
                                      const google::protobuf::FieldDescriptor*, T) const) {
    const auto cast = [&] {
      if constexpr (std::is_arithmetic_v<T>) {
        return static_cast<T>(value);
      } else {
        return std::string(static_cast<size_t>(value), 'x');
      }
    };
    (message.GetReflection()->*set)(&message, field.field, cast());
  });
}

}  // namespace skipstone::server
