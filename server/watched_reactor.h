// A unary call that is given up if its client does not take the answer: unsent, it would stay in
// this process for as long as the client does.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "server/stall_watch.h"

namespace skipstone::server {

// Owns itself.
class WatchedUnaryReactor : public grpc::ServerUnaryReactor {
 public:
  // Without `watch` (no model yet, so answers are short) it waits for ever.
  WatchedUnaryReactor(grpc::CallbackServerContext& context, StallWatch* watch)
      : context_(context), watch_(watch) {}

  // The way to finish it. Nothing of this may be touched afterwards.
  void FinishWatched(const grpc::Status& status);

 private:
  void OnDone() final;

  grpc::CallbackServerContext& context_;
  StallWatch* const watch_;
  std::shared_ptr<StallWatch::Stream> answer_;
};

}  // namespace skipstone::server
