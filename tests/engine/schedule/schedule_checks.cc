#include "tests/engine/schedule/schedule_checks.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "tests/support/row_keys.h"

namespace skipstone {
namespace {

constexpr double kRounding = 1e-9;

// A later output of a request that may still wait for the first one to enter their prompt: that is
// over when the first one draws, unless it was preempted meanwhile.
bool MayFollow(const Sequence& sequence) {
  if (sequence.spec.output_index == 0) return false;
  const Sequence& first = *sequence.spec.group->sequences.front();
  return first.spec.output_index == 0 && (first.output.empty() || first.preemptions > 0);
}

// A class of priority is a head start of 30 s; equals go by id.
bool GoesBefore(const SequenceSpec& a, const SequenceSpec& b) {
  const Time arrival = a.arrival - std::chrono::seconds(30) * (a.priority - b.priority);
  return arrival != b.arrival ? arrival < b.arrival : a.id < b.id;
}

// attn:last=K, or win:last=K, or both.
bool IsLastAttentionSet(const SkipSet& skip) {
  return skip.SkippedMlp() == 0 && skip.LastKeptAttention() + 1 == skip.KeptAttention() &&
         skip.LastFullAttention() + 1 == skip.KeptAttention() - skip.WindowedAttention();
}

// SEMANTICS "Row liveness", as plainly as it is written there: the deepest layer whose K and V the
// chunk's row, which needs no logits, leaves.
int LastLayerOf(const SequenceChunk& chunk, const SkipSet& skip, int row, int page_tokens) {
  const int position = chunk.first_position + row;
  int reach = chunk.FirstLogitsRow();  // rows from here on begin all layers above
  const bool sink = position < BlocksFor(kSinkTokens, page_tokens) * page_tokens;
  for (int layer = skip.num_layers() - 1; layer >= 0; --layer) {
    if (!skip.KeepsAttention(layer)) continue;
    if (skip.Window(layer) == 0 || sink) return layer;
    const int least = std::max(0, reach - skip.Window(layer) + 1);
    reach = least / page_tokens * page_tokens;
    if (position >= reach) return layer;
  }
  return -1;
}

}  // namespace

Failure PageChecks::Check(const Scheduler& scheduler, std::span<const SequenceId> live) {
  const PagePool& pool = scheduler.pool();
  if (pool.free() + pool.used() + pool.cached() != pool.size()) return "pages are lost";
  pages_.assign(pool.size(), {});
  for (const SequenceId id : live) {
    const Sequence* sequence = scheduler.Find(id);
    if (sequence == nullptr) return absl::StrFormat("sequence %d has vanished", id);
    if (Failure failure = CountHolders(*sequence)) return failure;
  }
  int64_t used = 0, cached = 0, free = 0;
  for (PageId page = 0; page < pool.size(); ++page) {
    const int holders = pages_[page].holders;
    const int references = pool.references(page);
    used += holders > 0 ? 1 : 0;
    free += references == 0 ? 1 : 0;
    cached += holders == 0 && references == 1 ? 1 : 0;
    shared_pages_ += holders > 1 ? 1 : 0;
    if (references == holders || references == holders + 1) continue;
    return absl::StrFormat("page %d has %d references and %d holders", page, references, holders);
  }
  if (used == pool.used() && cached == pool.cached() && free == pool.free()) return std::nullopt;
  return absl::StrFormat("used %d, cached %d, free %d; the pool says %d, %d, %d", used, cached,
                         free, pool.used(), pool.cached(), pool.free());
}

// A page for each block of a full layer. Of a windowed one all that rows still to be planned read
// of what is stored, and nothing that was out of sight before the blocks that are yet to be entered
// in the cache.
Failure PageChecks::CheckHeld(const Sequence& sequence) const {
  const SequencePages& held = sequence.pages;
  const SkipSet& skip = sequence.skip;
  const auto fail = [&](const char* what, int block, int layer) {
    return absl::StrFormat("sequence %d, %d positions planned under %s, %s of block %d, layer %d",
                           sequence.spec.id, sequence.planned, skip.ToString(), what, block, layer);
  };
  if (held.num_blocks() != BlocksFor(sequence.planned, page_tokens_)) return "blocks are missing";
  const int entered = sequence.cursor.blocks() * page_tokens_;
  int64_t pages = 0;
  for (int i = 0; i < std::ssize(held.layers()); ++i) {
    const int out_of_sight = held.FirstBlock(i, entered, entered);
    const int layer = held.layers()[i];
    const int first = held.FirstBlock(i, sequence.planned, sequence.FirstLogitsRow());
    for (int block = 0; block < held.num_blocks(); ++block) {
      const bool has = held.page(block, i) != kNoPage;
      const bool read = block < held.SinkBlocks() || block >= first;
      pages += has ? 1 : 0;
      if (read && !has) return fail("no page", block, layer);
      if (has && block >= held.SinkBlocks() && block < out_of_sight) {
        return fail("a page too many", block, layer);
      }
    }
  }
  if (pages != held.num_pages()) return "pages are counted wrong";
  const bool decodes = sequence.in_flight == 0 && sequence.decoding;
  if (!decodes || pages == PagesFor(sequence.planned, skip, page_tokens_)) return std::nullopt;
  return absl::StrFormat("%d pages are held, %d expected: sequence %d, %d positions under %s",
                         pages, PagesFor(sequence.planned, skip, page_tokens_), sequence.spec.id,
                         sequence.planned, skip.ToString());
}

Failure PageChecks::CountHolders(const Sequence& sequence) {
  const SequencePages& held = sequence.pages;
  if (Failure failure = CheckHeld(sequence)) return failure;
  for (int block = 0; block < held.num_blocks(); ++block) {
    for (int i = 0; i < std::ssize(held.layers()); ++i) {
      if (held.page(block, i) == kNoPage) continue;
      Holder& page = pages_[held.page(block, i)];
      const Holder here{&sequence, block, held.layers()[i], page.holders + 1};
      if (page.holders > 0 && !SameContent(page, here)) {
        return absl::StrFormat("sequences %d and %d share page %d with different content",
                               page.sequence->spec.id, sequence.spec.id, held.page(block, i));
      }
      page = here;
    }
  }
  return std::nullopt;
}

bool PageChecks::SameContent(const Holder& a, const Holder& b) const {
  if (a.sequence == b.sequence || a.block != b.block || a.layer != b.layer) return false;
  if (a.sequence->spec.cache_salt != b.sequence->spec.cache_salt) return false;
  if (!(a.sequence->skip.Below(a.layer) == b.sequence->skip.Below(b.layer))) return false;
  for (int position = 0; position < (a.block + 1) * page_tokens_; ++position) {
    const int32_t token = a.sequence->TokenAt(position);
    if (token == kSampledToken || token != b.sequence->TokenAt(position)) return false;
  }
  return true;
}

void PlanChecks::Before(const Scheduler& scheduler, std::span<const SequenceId> live,
                        double prefill_limit) {
  prefill_limit_ = prefill_limit;
  decode_ready_.clear();
  waiting_.clear();
  could_shed_.clear();
  for (const SequenceId id : live) {
    const Sequence& sequence = *scheduler.Find(id);
    if (!sequence.running()) {
      if (!MayFollow(sequence)) waiting_.push_back(id);
      continue;
    }
    if (!sequence.AllPlanned() && sequence.DecodeReady()) decode_ready_.push_back(id);
    if (sequence.PagesToShed() > 0) could_shed_.push_back(id);
  }
}

Failure PlanChecks::After(const Scheduler& scheduler, const StepPlan& plan) {
  std::set<SequenceId> planned;
  for (const SequenceChunk& chunk : plan.chunks) {
    if (!planned.insert(chunk.sequence).second) return "a sequence is planned twice";
    if (chunk.num_rows < 1) return "a chunk without rows";
  }
  if (Failure failure = CheckBudget(plan)) return failure;
  if (Failure failure = CheckDecodeRows(scheduler, plan)) return failure;
  if (Failure failure = CheckShedFirst(scheduler, plan)) return failure;
  if (Failure failure = CheckStarts(scheduler, plan)) return failure;
  if (Failure failure = CheckWrites(scheduler, plan)) return failure;
  return CheckRowLists(plan);
}

Failure PlanChecks::CheckBudget(const StepPlan& plan) const {
  if (plan.decode_rows + plan.prefill_work > options_.max_batch_tokens + kRounding) {
    return absl::StrFormat("%d decode rows and prefill work %.17g exceed the budget of %d",
                           plan.decode_rows, plan.prefill_work, options_.max_batch_tokens);
  }
  double work = 0;
  int rows = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    work += chunk.logits_rows;
    for (int row = 0; row < chunk.num_rows - chunk.logits_rows; ++row) {
      work += RowWork(options_.work, plan.SkipOf(chunk),
                      LastLayerOf(chunk, plan.SkipOf(chunk), row, options_.page_tokens));
    }
    rows += chunk.num_rows;
  }
  if (std::abs(work - plan.decode_rows - plan.prefill_work) > 1e-6 || rows != plan.num_rows) {
    return absl::StrFormat("rows of work %.17g are counted as %d and %.17g", work, plan.decode_rows,
                           plan.prefill_work);
  }
  if (plan.num_rows > kMaxRowsPerWork * options_.max_batch_tokens) {
    return absl::StrFormat("%d rows in a budget of %d", plan.num_rows, options_.max_batch_tokens);
  }
  if (plan.decode_rows > 0 && plan.prefill_work > prefill_limit_ + kRounding) {
    return absl::StrFormat("prefill work %.17g beside decode rows, the limit is %.17g",
                           plan.prefill_work, prefill_limit_);
  }
  return std::nullopt;
}

// Whoever could decode does, was preempted, or lacks pages.
Failure PlanChecks::CheckDecodeRows(const Scheduler& scheduler, const StepPlan& plan) const {
  const PagePool& pool = scheduler.pool();
  for (const SequenceId id : decode_ready_) {
    const Sequence& sequence = *scheduler.Find(id);
    if (!sequence.running()) continue;
    if (std::ranges::find(plan.chunks, id, &SequenceChunk::sequence) != plan.chunks.end()) continue;
    const int64_t missing = sequence.pages.MissingPages(sequence.planned + 1);
    if (pool.free() + pool.cached() < missing) continue;
    return absl::StrFormat("sequence %d was ready to decode and is left out", id);
  }
  return std::nullopt;
}

Failure PlanChecks::CheckShedFirst(const Scheduler& scheduler, const StepPlan& plan) const {
  if (plan.preemptions == 0) return std::nullopt;
  for (const SequenceId id : could_shed_) {
    const Sequence& sequence = *scheduler.Find(id);
    if (sequence.running() || !sequence.CanShed()) continue;
    return absl::StrFormat("sequence %d was preempted and could have shed layers", id);
  }
  return std::nullopt;
}

// In order of precedence (where shares are fair: within a tenant), and nobody was passed over.
Failure PlanChecks::CheckStarts(const Scheduler& scheduler, const StepPlan& plan) const {
  const auto comparable = [&](const Sequence* a, const Sequence* b) {
    return !options_.fair_share || a->spec.tenant == b->spec.tenant;
  };
  std::vector<const Sequence*> started;
  for (const SlotStart& start : plan.slot_starts) {
    const auto chunk = std::ranges::find(plan.chunks, start.slot, &SequenceChunk::slot);
    if (chunk == plan.chunks.end()) return "a sequence started without rows";
    started.push_back(scheduler.Find(chunk->sequence));
  }
  for (size_t i = 0; i < started.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (comparable(started[i], started[j]) && GoesBefore(started[i]->spec, started[j]->spec)) {
        return absl::StrFormat("sequence %d started before %d", started[j]->spec.id,
                               started[i]->spec.id);
      }
    }
    for (const SequenceId id : waiting_) {
      const Sequence* other = scheduler.Find(id);
      if (other->running() || !comparable(started[i], other)) continue;
      if (!GoesBefore(other->spec, started[i]->spec)) continue;
      return absl::StrFormat("sequence %d overtook %d", started[i]->spec.id, id);
    }
  }
  return std::nullopt;
}

// A page that somebody else, or the prefix cache, owns is never written.
Failure PlanChecks::CheckWrites(const Scheduler& scheduler, const StepPlan& plan) const {
  for (const SequenceChunk& chunk : plan.chunks) {
    const SequencePages& pages = scheduler.Find(chunk.sequence)->pages;
    const int end = chunk.first_position + chunk.num_rows;
    for (int block = chunk.first_position / options_.page_tokens;
         block < BlocksFor(end, options_.page_tokens); ++block) {
      for (int i = 0; i < std::ssize(pages.layers()); ++i) {
        const PageId page = pages.page(block, i);
        if (page == kNoPage || scheduler.pool().references(page) == 1) continue;
        return absl::StrFormat("sequence %d writes the shared page %d", chunk.sequence,
                               pages.page(block, i));
      }
    }
  }
  return std::nullopt;
}

// SEMANTICS "Row liveness", row by row, as plainly as it is written there.
Failure PlanChecks::CheckRowLists(const StepPlan& plan) {
  rows_.Build(plan);
  const StepInput input = rows_.input();
  const bool all_last = std::ranges::all_of(plan.sets, IsLastAttentionSet);
  for (int layer = 0; layer < std::ssize(input.layers); ++layer) {
    std::set<RowKey> kv, query, mlp;
    MapKeys attention_maps, mlp_maps;
    for (const SequenceChunk& chunk : plan.chunks) {
      const SkipSet& skip = plan.SkipOf(chunk);
      for (int i = 0; i < chunk.num_rows; ++i) {
        const RowKey key{chunk.slot, chunk.first_position + i};
        const bool logits = i >= chunk.num_rows - chunk.logits_rows;
        const int last = logits ? kAllLayers : LastLayerOf(chunk, skip, i, options_.page_tokens);
        if (skip.KeepsAttention(layer) && layer <= last) kv.insert(key);
        if (skip.KeepsAttention(layer) && layer < last) query.insert(key);
        if (skip.KeepsMlp(layer) && layer < last) mlp.insert(key);
        if (layer >= last) continue;
        if (const uint64_t map = skip.AttentionMap(layer)) attention_maps[map].insert(key);
        if (const uint64_t map = skip.MlpMap(layer)) mlp_maps[map].insert(key);
      }
    }
    const LayerRows& lists = input.layers[layer];
    if (KeysOf(input, lists.kv_rows) != kv || KeysOf(input, lists.query_rows) != query ||
        KeysOf(input, lists.mlp_rows) != mlp ||
        KeysOfMaps(input, lists.attention_maps, maps_[layer].attention) != attention_maps ||
        KeysOfMaps(input, lists.mlp_maps, maps_[layer].mlp) != mlp_maps) {
      return absl::StrFormat("the rows of layer %d are not those of the semantics", layer);
    }
    if (all_last && (lists.kv_rows.index || lists.query_rows.index || lists.mlp_rows.index)) {
      return absl::StrFormat("a list of layer %d is no range", layer);
    }
  }
  return std::nullopt;
}

}  // namespace skipstone
