// Sequences that wait to run, in the order in which they may start: by precedence or, where shares
// are fair, first from the tenant that was served the fewest tokens (the virtual token counter of
// Sheng et al. 2024, arXiv 2401.00588), and by precedence within a tenant.
//
// A tenant costs its client nothing but a name. Tenants that were never served therefore have one
// share between them, in order of precedence: who makes up a name for each request has the share of
// one tenant. At the worst they are treated as by a lower class of priority.
//
// The later outputs of a request wait behind the first one (their leader) until it has entered the
// prompt into the prefix cache: then they share its pages instead of computing their own.
//
// Not thread-safe: the step thread owns it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "engine/schedule/sequence.h"

namespace skipstone {

// Kept while it has sequences that wait or run.
struct Tenant {
  int64_t served_tokens = 0;
  bool is_new = false;  // never served
  int sequences = 0;
  std::set<Sequence*, Sequence::Before> waiting;
};

class WaitQueue {
 public:
  explicit WaitQueue(bool fair_share) : fair_share_(fair_share) {}

  // A new sequence; behind `leader` if that is not null.
  void Add(Sequence& sequence, Sequence* leader);
  // Those that wait behind `leader` may start.
  static void ReleaseFollowers(Sequence& leader);
  // A running sequence waits again.
  void Return(Sequence& sequence);
  // Next to start; null if there is none.
  Sequence* First() const;
  // It leaves the queue to run.
  void Start(Sequence& sequence);
  // It has ended, waiting or running.
  void End(Sequence& sequence);

  void Serve(Sequence& sequence, int64_t tokens);

  int size() const { return size_; }

 private:
  // Without fair shares all are one tenant.
  std::string NameOf(const Sequence& sequence) const {
    return fair_share_ ? sequence.spec.tenant : std::string();
  }
  Tenant* Join(const std::string& name);
  // Takes its place in its tenant's queue.
  static void Queue(Sequence& sequence, SequenceState as);
  // Where a tenant goes on that was away: it gets no credit for that.
  int64_t Now() const;

  const bool fair_share_;
  std::map<std::string, Tenant> tenants_;
  int64_t newcomers_tokens_ = 0;  // served to the first sequences of new tenants
  int64_t last_started_ = 0;      // the counter of who started, the greatest so far
  std::unordered_map<std::string, int64_t> departed_;  // tokens served to tenants that left
  int size_ = 0;
};

}  // namespace skipstone
