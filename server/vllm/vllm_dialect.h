// vLLM's Generate: its requests become ours, our events its answers. Other services of that
// dialect (vllm_service.h) need nothing of this.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/generate_dialect.h"
#include "skipstone/v1/inference.pb.h"
#include "vllm/engine.pb.h"

namespace skipstone::server {

namespace vllm_api = ::vllm::grpc::engine;

// What of a model a prompt depends on.
struct PromptForm {
  std::optional<int32_t> bos_id;  // that ids without it get in front
  int max_context = 0;            // tokens, prompt and output
};

// Prompt, sampling, stopping and output; not id and skip. INVALID_ARGUMENT names what is given and
// not served.
absl::StatusOr<v1::GenerateRequest> OurRequest(const vllm_api::GenerateRequest& from,
                                               const PromptForm& form);

class VllmDialect : public GenerateDialect {
 public:
  // `level` runs for requests that choose none; empty: what the configuration says. `context` is
  // read in Read only.
  VllmDialect(const grpc::ServerContextBase& context, std::string level, const PromptForm& form)
      : context_(context), level_(std::move(level)), form_(form) {}

  absl::StatusOr<v1::GenerateRequest> Read(grpc::ByteBuffer& bytes) override;
  std::optional<grpc::ByteBuffer> Write(v1::GenerateEvent& event) override;
  bool answers_at_once() const override { return !streamed_; }

 private:
  vllm_api::GenerateStreamChunk ChunkOf(const v1::Delta& delta) const;
  vllm_api::GenerateComplete CompleteOf(const v1::Finished& finished);

  const grpc::ServerContextBase& context_;
  const std::string level_;
  const PromptForm form_;
  bool streamed_ = false;
  bool logprobs_ = false;
  bool prompt_logprobs_ = false;
  uint32_t prompt_tokens_ = 0;
  uint32_t cached_tokens_ = 0;
  std::map<uint32_t, v1::Delta> outputs_;  // by index, what was not sent
};

}  // namespace skipstone::server
