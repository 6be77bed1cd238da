#include "server/incoming_call.h"

#include <utility>

#include "server/rpc.h"

namespace skipstone::server {

IncomingCall::IncomingCall(Serving& serving, grpc::CallbackServerContext& context,
                           const grpc::ByteBuffer& request)
    : serving_(serving),
      context_(context),
      admission_(context, SystemClock().Now()),
      guard_(DeadlineOf(context)) {
  // gRPC would hold them until the call's end, and has no use for them.
  request_.Swap(const_cast<grpc::ByteBuffer*>(&request));
}

void IncomingCall::Start(std::function<void(const absl::Status& status)> read) {
  // Before its bytes are read: nobody pays for a stranger's.
  if (const absl::Status status = admission_.Authenticate(serving_); !status.ok()) {
    request_.Clear();
    return read(status);
  }
  ticket_ = serving_.validation->Add(request_.Length(),
                                     [this, read = std::move(read)](const absl::Status& status) {
                                       read(status.ok() ? guard_.Check() : status);
                                     });
}

void IncomingCall::OnCancel() {
  guard_.OnCancel();
  serving_.validation->Withdraw(ticket_, guard_.Check());
}

}  // namespace skipstone::server
