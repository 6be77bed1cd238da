// Runs hand-made steps on a backend: rows and what each layer does with them are given, pages are
// handed out here.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/backend/backend.h"
#include "engine/model/llama.h"
#include "engine/skip/skip_set.h"
#include "tests/engine/cpu/stage_model.h"

namespace skipstone {

struct StageRow {
  int slot = 0;
  int position = 0;
  int32_t token = 0;
  bool logits = false;  // such rows come first
};

// What one layer does with a row.
struct StageUse {
  bool kv = true;
  bool query = true;
  bool mlp = true;
  // Which of the layer's maps stand in; -1: none.
  int attention_map = -1;
  int mlp_map = -1;
};

struct StageStep {
  std::vector<StageRow> rows;
  std::function<StageUse(int row, int layer)> use;  // empty: everything
  // Empty: every row sees all positions up to its own, else as StepInput::Window says.
  std::function<int(int slot, int layer)> window;
  // Empty: none, else the logits row that a logits row is compared with, or -1.
  std::function<int(int logits_row)> reference;
  bool index_lists = false;  // never ranges
  std::vector<SlotStart> slot_starts;
  bool sample = false;
  int top_n = -1;  // alternatives asked for; -1: the whole vocabulary

  StageUse UseOf(int row, int layer) const { return use ? use(row, layer) : StageUse{}; }
  int WindowOf(int slot, int layer) const { return window ? window(slot, layer) : 0; }
  bool Sees(const StageRow& row, int layer, int position) const {
    const int tokens = WindowOf(row.slot, layer);
    return position <= row.position &&
           (tokens == 0 || position < kSinkTokens || row.position - position < tokens);
  }
};

// The sets of windows of a step's rows, each once.
struct StageWindows {
  std::vector<int32_t> sets;     // [rows]
  std::vector<int32_t> windows;  // [sets][num_layers]

  StageWindows(const StageStep& step, int num_layers) {
    if (!step.window) return;
    std::map<std::vector<int32_t>, int32_t> set_of;
    for (const StageRow& row : step.rows) {
      std::vector<int32_t> set;
      for (int l = 0; l < num_layers; ++l) set.push_back(step.window(row.slot, l));
      const auto next = static_cast<int32_t>(set_of.size());
      const auto [it, added] = set_of.try_emplace(set, next);
      if (added) windows.insert(windows.end(), set.begin(), set.end());
      sets.push_back(it->second);
    }
  }
};

class StageDriver {
 public:
  StageDriver(const StageModel& model, Backend& backend, const StepLimits& limits)
      : model_(model), backend_(backend), limits_(limits), weights_(model.AddTo(backend)) {
    SKIPSTONE_CHECK(backend.Allocate(limits).ok());
  }

  using Stages = std::function<void(const StepInput&, const Weights&, Backend&)>;

  // `stages`: what is run instead of the model's.
  std::vector<LogitsResult> Run(const StageStep& step, const Stages& stages = nullptr) {
    Lists lists;
    const int rows = static_cast<int>(step.rows.size());
    std::vector<int32_t> tokens, positions, slots;
    std::vector<LogitsRow> logits;
    std::vector<RowRun> runs;
    const StageWindows windows(step, model_.shape.num_layers);
    const std::vector<PageUpdate> updates = UpdatePages(step);
    for (int r = 0; r < rows; ++r) {
      const StageRow& row = step.rows[r];
      tokens.push_back(row.token);
      positions.push_back(row.position);
      slots.push_back(row.slot);
      if (row.logits) {
        logits.push_back({.slot = row.slot,
                          .position = row.position,
                          .sample = step.sample,
                          .top_n = step.top_n >= 0 ? step.top_n : model_.shape.vocab,
                          .reference = step.reference ? step.reference(logits.size()) : -1});
      }
      if (r > 0 && row.slot == step.rows[r - 1].slot &&
          row.position == step.rows[r - 1].position + 1) {
        ++runs.back().count;
      } else {
        runs.push_back({r, 1});
      }
    }
    std::vector<LayerRows> layers;
    for (int l = 0; l < model_.shape.num_layers; ++l) {
      const LayerWeights& w = weights_.layers[l];
      const auto list = [&](auto pick) { return lists.Make(step, rows, l, pick); };
      layers.push_back({list([](StageUse u) { return u.kv; }),
                        list([](StageUse u) { return u.query; }),
                        list([](StageUse u) { return u.mlp; }),
                        lists.MakeMaps(step, rows, l, &StageUse::attention_map, w.attention_maps),
                        lists.MakeMaps(step, rows, l, &StageUse::mlp_map, w.mlp_maps)});
    }
    const StepInput input{.tokens = tokens,
                          .positions = positions,
                          .slots = slots,
                          .layers = layers,
                          .logits = logits,
                          .runs = runs,
                          .sets = windows.sets,
                          .windows = windows.windows,
                          .sink_tokens = kSinkTokens,
                          .slot_starts = step.slot_starts,
                          .page_updates = updates};
    backend_.BeginStep(input);
    if (stages) {
      stages(input, weights_, backend_);
    } else {
      backend_.Run([&] { Forward(input, weights_, backend_); });
    }
    backend_.EndStep();
    std::vector<LogitsResult> results(3);
    SKIPSTONE_CHECK(backend_.WaitStep(&results).ok());
    SKIPSTONE_CHECK(results.size() == logits.size());
    return results;
  }

  // Fills every buffer and every page with NaN, then forgets the pages.
  void Poison() {
    const int per_page = model_.shape.num_layers;
    int64_t tokens = limits_.num_pages / per_page * limits_.page_tokens;
    for (int slot = 0; tokens > 0; ++slot) {
      StageStep step;
      for (int p = 0; p < limits_.max_rows && tokens > 0; ++p, --tokens) {
        step.rows.push_back({slot % limits_.max_slots, p, model_.poison_token(), p < 2});
      }
      Run(step);
      page_of_.clear();
    }
    next_page_ = 0;
  }

  int32_t PageOf(int slot, int layer, int block) { return page_of_.at({slot, layer, block}); }
  void SetPage(int slot, int layer, int block, int32_t page) {
    page_of_[{slot, layer, block}] = page;
    pending_.push_back({slot, layer, block, page});
  }

 private:
  using Block = std::array<int, 3>;  // slot, layer, block

  // Keeps the memory of index lists.
  struct Lists {
    template <class Pick>
    RowList Make(const StageStep& step, int rows, int layer, Pick pick) {
      std::vector<int32_t> index;
      for (int r = 0; r < rows; ++r) {
        if (pick(step.UseOf(r, layer))) index.push_back(r);
      }
      if (index.empty()) return {};
      const auto count = static_cast<int32_t>(index.size());
      const bool range = index.back() - index.front() + 1 == count;
      if (range && !step.index_lists) return {index.front(), count, nullptr};
      memory.push_back(std::move(index));
      return {0, count, memory.back().data()};
    }
    std::span<const RowList> MakeMaps(const StageStep& step, int rows, int layer,
                                      int StageUse::*map, std::span<const MapWeights> maps) {
      std::vector<RowList>& made = map_lists.emplace_back();
      bool some = false;
      for (int i = 0; i < std::ssize(maps); ++i) {
        made.push_back(Make(step, rows, layer, [&](StageUse u) { return u.*map == i; }));
        some |= !made.back().empty();
      }
      if (!some) made.clear();
      return made;
    }
    std::deque<std::vector<int32_t>> memory;
    std::deque<std::vector<RowList>> map_lists;
  };

  int32_t NewPage() { return next_page_++; }

  // Pages for the blocks that the rows of the step write or see. What else a windowed layer has up
  // to there becomes a hole: the table names a page that is full of NaN since Poison.
  std::vector<PageUpdate> UpdatePages(const StageStep& step) {
    std::vector<PageUpdate> updates = std::move(pending_);
    pending_.clear();
    std::set<Block> used;
    std::set<Block> others;
    for (int r = 0; r < static_cast<int>(step.rows.size()); ++r) {
      for (int l = 0; l < model_.shape.num_layers; ++l) {
        for (int block = 0; block <= step.rows[r].position / limits_.page_tokens; ++block) {
          (Uses(step, r, l, block) ? used : others).insert({step.rows[r].slot, l, block});
        }
      }
    }
    for (const Block& at : used) {
      others.erase(at);
      holes_.erase(at);
      const auto [it, added] = page_of_.try_emplace(at, 0);
      if (!added) continue;
      it->second = NewPage() % static_cast<int32_t>(limits_.num_pages);
      updates.push_back({at[0], at[1], at[2], it->second});
    }
    for (const Block& at : others) {
      page_of_.erase(at);
      if (!holes_.insert(at).second) continue;
      updates.push_back({at[0], at[1], at[2], static_cast<int32_t>(limits_.num_pages) - 1});
    }
    return updates;
  }

  bool Uses(const StageStep& step, int r, int layer, int block) const {
    const StageRow& row = step.rows[r];
    if (step.WindowOf(row.slot, layer) == 0) return true;
    const StageUse use = step.UseOf(r, layer);
    if (use.kv && block == row.position / limits_.page_tokens) return true;
    for (int i = 0; use.query && i < limits_.page_tokens; ++i) {
      if (step.Sees(row, layer, block * limits_.page_tokens + i)) return true;
    }
    return false;
  }

  const StageModel& model_;
  Backend& backend_;
  const StepLimits limits_;
  const Weights weights_;
  std::map<Block, int32_t> page_of_;
  std::set<Block> holes_;
  std::vector<PageUpdate> pending_;
  int32_t next_page_ = 0;
};

}  // namespace skipstone
