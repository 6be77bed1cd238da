#include "server/rpc.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace skipstone::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Walks a message and counts what a parser would allocate.
class ObjectCounter {
 public:
  // 256 items to score, each of a few messages, are the most of a request that is served.
  static constexpr int kMaxObjects = 16384;
  // Numbers cost little memory, but time.
  static constexpr int kMaxFields = 1 << 20;

  explicit ObjectCounter(CodedInputStream& in) : in_(in) {}

  // False at malformed bytes, and at too many.
  bool Walk(const google::protobuf::Descriptor& type) {
    while (const uint32_t tag = in_.ReadTag()) {
      const FieldDescriptor* field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
      if (++fields_ > kMaxFields || !WalkField(tag, field)) return false;
    }
    return true;
  }

  // What there is too much of; empty: of nothing.
  const std::string& excess() const { return excess_; }

 private:
  bool WalkField(uint32_t tag, const FieldDescriptor* field) {
    const bool bytes =
        WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    const bool message = field != nullptr && field->message_type() != nullptr;
    const bool number =
        field != nullptr && !message && field->type() != FieldDescriptor::TYPE_STRING;
    if (!number && ++objects_ > kMaxObjects) {
      excess_ = field != nullptr ? field->full_name() : "unknown fields";
      return false;
    }
    if (!bytes || !message) return WireFormatLite::SkipField(&in_, tag);
    uint32_t size = 0;
    if (!in_.ReadVarint32(&size)) return false;
    const CodedInputStream::Limit limit = in_.PushLimit(static_cast<int>(size));
    if (!Walk(*field->message_type()) || in_.BytesUntilLimit() > 0) return false;
    in_.PopLimit(limit);
    return true;
  }

  CodedInputStream& in_;
  int fields_ = 0;
  int objects_ = 0;
  std::string excess_;
};

}  // namespace

absl::Status CheckObjects(const grpc::ByteBuffer& bytes, const google::protobuf::Descriptor& type) {
  grpc::ByteBuffer copy(bytes);  // of references to the slices
  grpc::ProtoBufferReader reader(&copy);
  if (!reader.status().ok()) return absl::OkStatus();
  CodedInputStream in(&reader);
  ObjectCounter counter(in);
  counter.Walk(type);
  if (counter.excess().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: the request has more than %d messages and strings", counter.excess(),
                      ObjectCounter::kMaxObjects));
}

grpc::Status ToGrpc(const absl::Status& status) {
  // Trailing metadata beyond the client's limit, 8 KiB by default, would hide the status. The
  // transport makes three bytes of each one that is not ASCII.
  constexpr size_t kMaxMessageBytes = 2000;
  std::string message(status.message().substr(0, kMaxMessageBytes));
  message.resize(message.size() - IncompleteUtf8Tail(message));
  // The codes of both are numbered alike.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

void AddRequestId(grpc::ServerContextBase& context, const std::string& request_id) {
  context.AddInitialMetadata("skipstone-request-id", request_id);
}

Time DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  const auto left = deadline - std::chrono::system_clock::now();
  // gRPC's "no deadline" lies beyond any that a client means.
  if (left > std::chrono::hours(24 * 365)) return kNever;
  return SystemClock().Now() + std::chrono::duration_cast<Duration>(left);
}

bool IsMetadataText(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context,
                                      const std::string& key) {
  const auto& metadata = context.client_metadata();
  const auto it = metadata.find(key);
  if (it == metadata.end()) return std::nullopt;
  return std::string(it->second.data(), it->second.size());
}

}  // namespace skipstone::server
