// The table of live calls, by the ids that clients know. A call is a request, or all the items of
// one Score call: they share its id, so that no id of a client names an item alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/live_request.h"

namespace skipstone {

// Not thread-safe.
class LiveCalls {
 public:
  using Requests = std::vector<std::shared_ptr<LiveRequest>>;

  // Another call, or the request itself, has its id.
  bool IsTaken(const EngineRequest& request) const;
  // The id must not be taken. The call is open if more requests of it follow.
  void Enter(std::shared_ptr<LiveRequest> request);
  // The last request of a call frees its id, unless it is open.
  void Leave(const std::shared_ptr<LiveRequest>& request);
  // No more requests of the call follow.
  void Close(const std::string& id, uint64_t call);

  // What is live of `call` under `id`.
  Requests Of(const std::string& id, uint64_t call) const;
  // What is live under `id`; with `owner` only if that is the call's.
  Requests OwnedBy(const std::optional<std::string>& owner, const std::string& id) const;
  Requests All() const;
  bool empty() const { return calls_.empty(); }
  // Sequences of a tenant, running or waiting.
  int SequencesOf(const std::string& tenant) const;

 private:
  struct Call {
    uint64_t number;
    std::string owner;
    bool open = false;
    Requests requests;
  };

  std::unordered_map<std::string, Call> calls_;
  std::unordered_map<std::string, int> sequences_of_;  // none of 0
};

}  // namespace skipstone
