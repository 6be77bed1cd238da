#include "engine/schedule/wait_queue.h"

#include <algorithm>
#include <limits>

#include "engine/base/check.h"

namespace skipstone {
namespace {

// Names that nobody forgets are memory that clients can fill.
constexpr size_t kMostDeparted = 10000;

// Of two tenants that have somebody waiting. Equally served, whoever waits longer goes first.
bool GoesBefore(const Tenant& a, const Tenant& b) {
  if (a.served_tokens != b.served_tokens) return a.served_tokens < b.served_tokens;
  return Sequence::Before()(*a.waiting.begin(), *b.waiting.begin());
}

}  // namespace

// A tenant that was away gets no credit for it: it goes on from the least of those present, or from
// where it was if that is more.
Tenant* WaitQueue::Join(const std::string& name) {
  const auto [it, is_new] = tenants_.try_emplace(name);
  Tenant& tenant = it->second;
  ++tenant.sequences;
  if (!is_new) return &tenant;
  if (tenants_.size() > 1) {
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const auto& [other, present] : tenants_) {
      if (&present != &tenant) least = std::min(least, present.served_tokens);
    }
    tenant.served_tokens = least;
  }
  if (const auto before = departed_.find(name); before != departed_.end()) {
    tenant.served_tokens = std::max(tenant.served_tokens, before->second);
    departed_.erase(before);
  }
  return &tenant;
}

void WaitQueue::Add(Sequence& sequence, const Sequence* leader) {
  sequence.tenant = Join(NameOf(sequence));
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
    if (first == nullptr || GoesBefore(tenant, *first)) first = &tenant;
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
  const std::string name = NameOf(sequence);
  if (departed_.size() >= kMostDeparted) departed_.clear();
  departed_[name] = sequence.tenant->served_tokens;
  tenants_.erase(name);
}

}  // namespace skipstone
