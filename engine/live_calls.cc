#include "engine/live_calls.h"

#include <utility>

namespace skipstone {

bool LiveCalls::IsTaken(const EngineRequest& request) const {
  const auto it = calls_.find(request.id);
  if (it == calls_.end()) return false;
  return request.call == 0 || it->second.number != request.call;
}

void LiveCalls::Enter(std::shared_ptr<LiveRequest> live) {
  const EngineRequest& request = live->request();
  sequences_of_[request.tenant] += request.n;
  Call& call = calls_.try_emplace(request.id, Call{request.call, request.owner}).first->second;
  call.open = request.more_follow;
  call.requests.push_back(std::move(live));
}

void LiveCalls::Leave(const std::shared_ptr<LiveRequest>& live) {
  const EngineRequest& request = live->request();
  const auto call = calls_.find(request.id);
  std::erase(call->second.requests, live);
  if (call->second.requests.empty() && !call->second.open) calls_.erase(call);
  const auto sequences = sequences_of_.find(request.tenant);
  if ((sequences->second -= request.n) == 0) sequences_of_.erase(sequences);
}

void LiveCalls::Close(const std::string& id, uint64_t call) {
  const auto it = calls_.find(id);
  if (it == calls_.end() || it->second.number != call) return;
  it->second.open = false;
  if (it->second.requests.empty()) calls_.erase(it);
}

LiveCalls::Requests LiveCalls::Of(const std::string& id, uint64_t call) const {
  const auto it = calls_.find(id);
  return it != calls_.end() && it->second.number == call ? it->second.requests : Requests();
}

LiveCalls::Requests LiveCalls::OwnedBy(const std::optional<std::string>& owner,
                                       const std::string& id) const {
  const auto it = calls_.find(id);
  if (it == calls_.end() || (owner && it->second.owner != *owner)) return {};
  return it->second.requests;
}

LiveCalls::Requests LiveCalls::All() const {
  Requests all;
  for (const auto& [id, call] : calls_) {
    all.insert(all.end(), call.requests.begin(), call.requests.end());
  }
  return all;
}

int LiveCalls::SequencesOf(const std::string& tenant) const {
  const auto it = sequences_of_.find(tenant);
  return it == sequences_of_.end() ? 0 : it->second;
}

}  // namespace skipstone
