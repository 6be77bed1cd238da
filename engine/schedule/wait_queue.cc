#include "engine/schedule/wait_queue.h"

#include <algorithm>
#include <limits>

#include "engine/base/check.h"

namespace skipstone {

// A tenant that was away gets no credit for it: it goes on from the least of those present.
Tenant* WaitQueue::Join(const std::string& name) {
  const auto [it, is_new] = tenants_.try_emplace(name);
  Tenant& tenant = it->second;
  if (is_new && tenants_.size() > 1) {
    tenant.served_tokens = std::numeric_limits<int64_t>::max();
    for (const auto& [other, present] : tenants_) {
      if (&present == &tenant) continue;
      tenant.served_tokens = std::min(tenant.served_tokens, present.served_tokens);
    }
  }
  ++tenant.sequences;
  return &tenant;
}

void WaitQueue::Add(Sequence& sequence, const Sequence* leader) {
  sequence.tenant = Join(fair_share_ ? sequence.spec.tenant : std::string());
  ++size_;
  if (leader != nullptr) {
    followers_[leader->spec.id].push_back(&sequence);
  } else {
    sequence.tenant->waiting.insert(&sequence);
  }
}

void WaitQueue::ReleaseFollowers(SequenceId leader) {
  const auto it = followers_.find(leader);
  if (it == followers_.end()) return;
  for (Sequence* follower : it->second) follower->tenant->waiting.insert(follower);
  followers_.erase(it);
}

void WaitQueue::Return(Sequence& sequence) {
  sequence.tenant->waiting.insert(&sequence);
  ++size_;
}

Sequence* WaitQueue::First() const {
  const Tenant* first = nullptr;
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.waiting.empty()) continue;
    if (first == nullptr || tenant.served_tokens < first->served_tokens) first = &tenant;
  }
  return first == nullptr ? nullptr : *first->waiting.begin();
}

void WaitQueue::Start(Sequence& sequence) {
  SKIPSTONE_CHECK(sequence.tenant->waiting.erase(&sequence) == 1);
  --size_;
}

void WaitQueue::End(Sequence& sequence) {
  bool waited = sequence.tenant->waiting.erase(&sequence) == 1;
  const auto it = followers_.find(sequence.spec.id - sequence.spec.output_index);
  if (!waited && it != followers_.end()) waited = std::erase(it->second, &sequence) == 1;
  size_ -= waited ? 1 : 0;
  ReleaseFollowers(sequence.spec.id);
  if (--sequence.tenant->sequences > 0) return;
  std::erase_if(tenants_, [&](const auto& entry) { return &entry.second == sequence.tenant; });
}

}  // namespace skipstone
