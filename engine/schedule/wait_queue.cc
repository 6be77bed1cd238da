#include "engine/schedule/wait_queue.h"

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace skipstone {
namespace {

// Names that nobody forgets are memory that clients can fill. Who is forgotten comes back as new.
constexpr size_t kMostDeparted = 10000;

// Of two tenants that have somebody waiting. Equally served, whoever waits longer goes first.
bool GoesBefore(const Tenant& a, const Tenant& b) {
  if (a.served_tokens != b.served_tokens) return a.served_tokens < b.served_tokens;
  return Sequence::Before()(*a.waiting.begin(), *b.waiting.begin());
}

}  // namespace

int64_t WaitQueue::Now() const {
  std::optional<int64_t> least;
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.waiting.empty() || tenant.is_new) continue;
    least = std::min(least.value_or(tenant.served_tokens), tenant.served_tokens);
  }
  return least.value_or(last_started_);
}

Tenant* WaitQueue::Join(const std::string& name) {
  const auto [it, joins] = tenants_.try_emplace(name);
  Tenant& tenant = it->second;
  ++tenant.sequences;
  if (!joins) return &tenant;
  tenant.served_tokens = Now();
  if (const auto before = departed_.find(name); before != departed_.end()) {
    tenant.served_tokens = std::max(tenant.served_tokens, before->second);
    departed_.erase(before);
  } else {
    tenant.is_new = true;
    newcomers_tokens_ = std::max(newcomers_tokens_, tenant.served_tokens);
  }
  return &tenant;
}

void WaitQueue::Queue(Sequence& sequence, SequenceState as) {
  sequence.MoveTo(as);
  sequence.tenant->waiting.insert(&sequence);
}

void WaitQueue::Add(Sequence& sequence, Sequence* leader) {
  sequence.tenant = Join(NameOf(sequence));
  ++size_;
  if (leader == nullptr) return Queue(sequence, SequenceState::kWaiting);
  sequence.MoveTo(SequenceState::kFollowing);
  sequence.leader = leader;
  leader->followers.push_back(&sequence);
}

void WaitQueue::ReleaseFollowers(Sequence& leader) {
  for (Sequence* follower : leader.followers) {
    follower->leader = nullptr;
    Queue(*follower, SequenceState::kWaiting);
  }
  leader.followers.clear();
}

void WaitQueue::Return(Sequence& sequence) {
  Queue(sequence, SequenceState::kPreempted);
  ++size_;
}

Sequence* WaitQueue::First() const {
  const Tenant* known = nullptr;
  Sequence* newcomer = nullptr;
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.waiting.empty()) continue;
    Sequence* const first = *tenant.waiting.begin();
    if (tenant.is_new) {
      if (newcomer == nullptr || Sequence::Before()(first, newcomer)) newcomer = first;
    } else if (known == nullptr || GoesBefore(tenant, *known)) {
      known = &tenant;
    }
  }
  if (known == nullptr) return newcomer;
  Sequence* const first = *known->waiting.begin();
  if (newcomer == nullptr) return first;
  const bool their_turn = newcomers_tokens_ <= known->served_tokens;
  const bool overdue = newcomer->Precedence() + kPriorityAging < first->Precedence();
  return their_turn || overdue ? newcomer : first;
}

void WaitQueue::Start(Sequence& sequence) {
  SKIPSTONE_CHECK(sequence.tenant->waiting.erase(&sequence) == 1);
  sequence.MoveTo(SequenceState::kRunning);
  --size_;
  last_started_ = std::max(last_started_, sequence.tenant->served_tokens);
}

void WaitQueue::Serve(Sequence& sequence, int64_t tokens) {
  Tenant& tenant = *sequence.tenant;
  sequence.at_newcomers_expense |= tenant.is_new;
  tenant.is_new = false;
  tenant.served_tokens += tokens;
  if (sequence.at_newcomers_expense) newcomers_tokens_ += tokens;
}

void WaitQueue::End(Sequence& sequence) {
  if (!sequence.running()) --size_;
  if (sequence.leader != nullptr) std::erase(sequence.leader->followers, &sequence);
  sequence.tenant->waiting.erase(&sequence);
  sequence.MoveTo(SequenceState::kEnded);
  ReleaseFollowers(sequence);
  if (--sequence.tenant->sequences > 0) return;
  const std::string name = NameOf(sequence);
  if (!sequence.tenant->is_new) {
    if (departed_.size() >= kMostDeparted) departed_.clear();
    departed_[name] = sequence.tenant->served_tokens;
  }
  tenants_.erase(name);
}

}  // namespace skipstone
