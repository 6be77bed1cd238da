// vllm.grpc.engine.VllmEngine beside our own service, over the same engine: what gateways such as
// SMG and llm-d's endpoint picker speak. Levels are models to them: at the port of a level requests
// that choose none run at it, and the model's name ends with it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <string>

#include "server/serving.h"
#include "vllm/engine.grpc.pb.h"

namespace skipstone::server {

using VllmStub = ::vllm::grpc::engine::VllmEngine;
// Every method on bytes (see rpc.h).
using RawVllm =
    VllmStub::WithRawCallbackMethod_Generate<VllmStub::WithRawCallbackMethod_HealthCheck<
        VllmStub::WithRawCallbackMethod_Abort<VllmStub::WithRawCallbackMethod_GetModelInfo<
            VllmStub::WithRawCallbackMethod_GetServerInfo<VllmStub::WithRawCallbackMethod_GetLoads<
                VllmStub::WithRawCallbackMethod_GetTokenizer<VllmStub::Service>>>>>>>;

// Thread-safe. Outlives the server it is registered with.
class VllmService : public RawVllm {
 public:
  // Empty: no level is this port's.
  explicit VllmService(std::string level = "") : level_(std::move(level)) {}

  // From now on requests are served; before, they end with UNAVAILABLE. `serving` outlives this.
  void Serve(Serving& serving) { serving_ = &serving; }

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  grpc::ServerWriteReactor<Bytes>* Generate(Context* context, const Bytes* in) override;
  grpc::ServerUnaryReactor* HealthCheck(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* Abort(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetModelInfo(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetServerInfo(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerUnaryReactor* GetLoads(Context* context, const Bytes* in, Bytes* out) override;
  grpc::ServerWriteReactor<Bytes>* GetTokenizer(Context* context, const Bytes* in) override;

 private:
  const std::string level_;
  std::atomic<Serving*> serving_{nullptr};
};

}  // namespace skipstone::server
