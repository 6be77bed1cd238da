#include "tests/support/fake_runner.h"

#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "engine/skip/liveness.h"

namespace skipstone {
namespace {

uint64_t CellValue(int32_t token, int position, int layer) {
  return Mix64(Mix64(token * 1000003ull + position) + layer);
}

int32_t Draw(uint64_t state, int32_t last_token, int vocab) {
  return static_cast<int32_t>(Mix64(state + last_token) % vocab);
}

float LogprobOf(uint64_t state, int32_t target) {
  return -1e-3f * static_cast<float>(Mix64(state ^ (target * 7919ull)) % 10000);
}

bool Sees(const SkipSet& skip, int layer, int position, int other) {
  const int window = skip.Window(layer);
  return window == 0 || other < kSinkTokens || position - other < window;
}

// What a row sees in a layer, once there is a window at this layer or below.
template <class CellOf>
uint64_t SeenBy(const SkipSet& skip, int layer, int position, CellOf cell_of) {
  uint64_t seen = 0;
  for (int p = 0; p <= position; ++p) {
    if (Sees(skip, layer, position, p)) seen += Mix64(cell_of(p));
  }
  return seen;
}

int FirstWindowed(const SkipSet& skip) {
  int layer = 0;
  while (layer < skip.num_layers() && skip.Window(layer) == 0) ++layer;
  return layer;
}

// What a row leaves above depends on the maps that it ran, in their order.
uint64_t ThroughMap(uint64_t above, uint64_t map) { return map == 0 ? above : Mix64(above ^ map); }

// Of a row that needs logits, which ran all maps.
uint64_t WithMaps(uint64_t state, const SkipSet& skip, uint64_t above) {
  return skip.HasMaps() ? Mix64(state ^ above) : state;
}

uint64_t ExpectedState(std::span<const int32_t> tokens, const SkipSet& skip) {
  const int rows = static_cast<int>(tokens.size());
  std::vector<std::vector<uint64_t>> cells(skip.num_layers(), std::vector<uint64_t>(rows));
  const int first_windowed = FirstWindowed(skip);
  uint64_t above = 0;
  for (int position = 0; position < rows; ++position) {
    above = 0;
    for (int layer = 0; layer < skip.num_layers(); ++layer) {
      if (skip.KeepsAttention(layer)) {
        cells[layer][position] = CellValue(tokens[position], position, layer) ^ above;
        if (layer >= first_windowed) {
          above ^= SeenBy(skip, layer, position, [&](int p) { return cells[layer][p]; });
        }
      }
      above = ThroughMap(above, skip.AttentionMap(layer));
      above = ThroughMap(above, skip.MlpMap(layer));
    }
  }
  uint64_t state = 0;
  for (int position = 0; position < rows; ++position) {
    for (int layer = 0; layer < skip.num_layers(); ++layer) {
      if (!skip.KeepsAttention(layer) || !Sees(skip, layer, rows - 1, position)) continue;
      state = Mix64(state ^ cells[layer][position]);
    }
  }
  return WithMaps(state, skip, above);
}

}  // namespace

int32_t FakeToken(std::span<const int32_t> tokens, const SkipSet& skip, int vocab) {
  return Draw(ExpectedState(tokens, skip), tokens.back(), vocab);
}

float FakeLogprob(std::span<const int32_t> tokens, const SkipSet& skip, int32_t target) {
  return LogprobOf(ExpectedState(tokens, skip), target);
}

FakeRunner::FakeRunner(FakeRunnerOptions options)
    : options_(std::move(options)),
      pages_(options_.num_pages, std::vector<uint64_t>(options_.page_tokens, 0)) {}

uint64_t& FakeRunner::Cell(const Slot& slot, int layer, int position) {
  const auto it = slot.pages.find({layer, position / options_.page_tokens});
  SKIPSTONE_CHECK(it != slot.pages.end());
  return pages_.at(it->second)[position % options_.page_tokens];
}

// What positions 0..`position` left in the pages of the kept layers.
uint64_t FakeRunner::Read(const Slot& slot, const SkipSet& skip, int position) {
  uint64_t state = 0;
  for (int p = 0; p <= position; ++p) {
    for (int layer = 0; layer < options_.num_layers; ++layer) {
      if (!skip.KeepsAttention(layer) || !Sees(skip, layer, position, p)) continue;
      state = Mix64(state ^ Cell(slot, layer, p));
    }
  }
  return state;
}

// `last`: the row's last layer. Returns what it is above all layers.
uint64_t FakeRunner::RunRow(Slot& slot, const SkipSet& skip, int last, int position,
                            int32_t token) {
  uint64_t above = 0;
  const int first_windowed = FirstWindowed(skip);
  for (int layer = 0; layer < options_.num_layers; ++layer) {
    const LayerParts parts = PartsOf(skip, layer, last);
    if (parts.kv) Cell(slot, layer, position) = CellValue(token, position, layer) ^ above;
    if (parts.query && layer >= first_windowed) {
      above ^= SeenBy(skip, layer, position, [&](int p) { return Cell(slot, layer, p); });
    }
    if (parts.attention_map) above = ThroughMap(above, skip.AttentionMap(layer));
    if (parts.mlp_map) above = ThroughMap(above, skip.MlpMap(layer));
  }
  return above;
}

void FakeRunner::RunChunk(const StepPlan& plan, const SequenceChunk& chunk, StepResults* results) {
  Slot& slot = slots_.at(chunk.slot);
  const SkipSet& skip = plan.SkipOf(chunk);
  std::vector<int> lasts;
  const Liveness live(skip, options_.page_tokens);
  live.ForEachSpan(chunk.first_position, chunk.first_position + chunk.num_rows,
                   chunk.FirstLogitsRow(), [&](const Liveness::Span& span) {
                     lasts.resize(span.end - chunk.first_position, live.LastLayer(span.kind));
                   });
  for (int i = 0; i < chunk.num_rows; ++i) {
    const int position = chunk.first_position + i;
    int32_t token = plan.tokens[chunk.first_token + i];
    if (token == kSampledToken) token = slot.last_sampled;
    const uint64_t above = RunRow(slot, skip, lasts[i], position, token);
    if (i < chunk.num_rows - chunk.logits_rows) continue;
    const uint64_t state = WithMaps(Read(slot, skip, position), skip, above);
    LogitsResult result;
    result.finite = !(options_.broken_layer >= 0 && position >= options_.broken_from &&
                      skip.KeepsAttention(options_.broken_layer));
    if (chunk.samples && i == chunk.num_rows - 1) {
      result.sampled.id = Draw(state, token, options_.vocab);
      result.sampled.logprob = LogprobOf(state, result.sampled.id);
      result.top = {result.sampled};
      slot.last_sampled = result.sampled.id;
    } else {
      result.target.id = plan.tokens[chunk.first_token + i + 1];
      result.target.logprob = LogprobOf(state, result.target.id);
      const int32_t likeliest = Draw(state, token, options_.vocab);
      if (chunk.prompt_top_n >= 1) result.top = {{likeliest, LogprobOf(state, likeliest)}};
      if (chunk.reference >= 0) {
        result.kl = FakeKl(plan.SkipOf(plan.chunks[chunk.reference]), skip);
      }
    }
    results->logits.push_back(std::move(result));
  }
}

float FakeKl(const SkipSet& full, const SkipSet& level) { return full == level ? 0 : 0.5f; }

void FakeRunner::Launch(const StepPlan& plan) {
  if (options_.on_launch) options_.on_launch(plan);
  for (const SlotStart& start : plan.slot_starts) slots_[start.slot] = Slot();
  for (const PageUpdate& update : plan.page_updates) {
    SKIPSTONE_CHECK(update.page >= 0 && update.page < options_.num_pages);
    slots_[update.slot].pages[{update.layer, update.block}] = update.page;
  }
  StepResults results;
  for (const SequenceChunk& chunk : plan.chunks) RunChunk(plan, chunk, &results);
  launched_.push_back(std::move(results));
}

StepResults FakeRunner::Collect() {
  SKIPSTONE_CHECK(!launched_.empty());
  StepResults results = std::move(launched_.front());
  launched_.pop_front();
  if (++collected_ == options_.fail_at_step) fail_ = true;
  if (fail_) results.status = absl::InternalError("the fake was told to fail");
  return results;
}

}  // namespace skipstone
