// skipstone.v1.Inference over gRPC's callback API: hands each call to what answers it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "server/serving.h"
#include "server/watched_reactor.h"
#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::server {

// The generated skeleton, with every method on bytes (see rpc.h).
using RawInference = v1::Inference::WithRawCallbackMethod_Generate<
    v1::Inference::WithRawCallbackMethod_GenerateStream<
        v1::Inference::WithRawCallbackMethod_Score<v1::Inference::WithRawCallbackMethod_Tokenize<
            v1::Inference::WithRawCallbackMethod_Detokenize<
                v1::Inference::WithRawCallbackMethod_GetModel<
                    v1::Inference::WithRawCallbackMethod_GetLoad<
                        v1::Inference::WithRawCallbackMethod_Abort<v1::Inference::Service>>>>>>>>;

// Thread-safe. Outlives the server it is registered with.
class InferenceService : public RawInference {
 public:
  // From now on requests are served; before, they end with UNAVAILABLE. `serving` outlives this.
  void Serve(Serving& serving) { serving_ = &serving; }

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  grpc::ServerUnaryReactor* Generate(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerWriteReactor<Bytes>* GenerateStream(Context* context, const Bytes* in) override;
  grpc::ServerUnaryReactor* Score(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* Tokenize(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* Detokenize(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetModel(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetLoad(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* Abort(Context* context, const Bytes* in, Bytes* out) override;

 private:
  // Of a call that is answered at once.
  WatchedUnaryReactor* Reactor(Context* context) const;

  std::atomic<Serving*> serving_{nullptr};
};

}  // namespace skipstone::server
