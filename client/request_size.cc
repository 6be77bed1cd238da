#include "client/request_size.h"

#include <google/protobuf/descriptor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/channel.h"

namespace skipstone::client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

struct Part {
  std::string path;  // such as chat.messages
  size_t bytes = 0;
};

Part LargestPart(const Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  const std::unique_ptr<Message> rest(message.New());
  rest->CopyFrom(message);
  Part largest;
  const FieldDescriptor* at = nullptr;
  for (const FieldDescriptor* field : fields) {
    const size_t before = rest->ByteSizeLong();
    reflection.ClearField(rest.get(), field);
    const size_t bytes = before - rest->ByteSizeLong();
    if (bytes <= largest.bytes) continue;
    at = field;
    largest = {field->name(), bytes};
  }
  if (at == nullptr || at->is_repeated() || at->message_type() == nullptr) return largest;
  const Part inner = LargestPart(reflection.GetMessage(message, at));
  return {largest.path + "." + inner.path, inner.bytes};
}

}  // namespace

absl::Status CheckRequestSize(const Message& request) {
  const size_t bytes = request.ByteSizeLong();
  if (bytes <= kMaxRequestBytes) return absl::OkStatus();
  const Part largest = LargestPart(request);
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %d of the request's %d bytes; a request may have at most %d",
                      largest.path, largest.bytes, bytes, kMaxRequestBytes));
}

}  // namespace skipstone::client
