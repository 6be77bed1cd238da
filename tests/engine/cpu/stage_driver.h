// Runs hand-made steps on a backend: rows and what each layer does with them are given, pages are
// handed out here.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/check.h"
#include "engine/backend/backend.h"
#include "engine/model/llama.h"
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
};

struct StageStep {
  std::vector<StageRow> rows;
  std::function<StageUse(int row, int layer)> use;  // empty: everything
  bool index_lists = false;                         // never ranges
  std::vector<SlotStart> slot_starts;
  bool sample = false;
  int top_n = -1;  // alternatives asked for; -1: the whole vocabulary

  StageUse UseOf(int row, int layer) const { return use ? use(row, layer) : StageUse{}; }
};

class StageDriver {
 public:
  StageDriver(const StageModel& model, Backend& backend, const StepLimits& limits)
      : model_(model), backend_(backend), limits_(limits), weights_(model.AddTo(backend)) {
    SKIPSTONE_CHECK(backend.Allocate(limits).ok());
  }

  std::vector<LogitsResult> Run(const StageStep& step) {
    Lists lists;
    const int rows = static_cast<int>(step.rows.size());
    std::vector<int32_t> tokens, positions, slots;
    std::vector<LogitsRow> logits;
    std::vector<RowRun> runs;
    std::vector<PageUpdate> updates;
    for (int r = 0; r < rows; ++r) {
      const StageRow& row = step.rows[r];
      tokens.push_back(row.token);
      positions.push_back(row.position);
      slots.push_back(row.slot);
      if (row.logits) {
        logits.push_back({.slot = row.slot,
                          .position = row.position,
                          .sample = step.sample,
                          .top_n = step.top_n >= 0 ? step.top_n : model_.shape.vocab});
      }
      if (r > 0 && row.slot == step.rows[r - 1].slot &&
          row.position == step.rows[r - 1].position + 1) {
        ++runs.back().count;
      } else {
        runs.push_back({r, 1});
      }
      for (int l = 0; l < model_.shape.num_layers; ++l) AddPages(row, l, updates);
    }
    std::vector<LayerRows> layers;
    for (int l = 0; l < model_.shape.num_layers; ++l) {
      const auto list = [&](auto pick) { return lists.Make(step, rows, l, pick); };
      layers.push_back({list([](StageUse u) { return u.kv; }),
                        list([](StageUse u) { return u.query; }),
                        list([](StageUse u) { return u.mlp; })});
    }
    const StepInput input{.tokens = tokens,
                          .positions = positions,
                          .slots = slots,
                          .layers = layers,
                          .logits = logits,
                          .runs = runs,
                          .slot_starts = step.slot_starts,
                          .page_updates = updates};
    backend_.BeginStep(input);
    backend_.Run([&] { Forward(input, weights_, backend_); });
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
    std::deque<std::vector<int32_t>> memory;
  };

  int32_t NewPage() { return next_page_++; }

  void AddPages(const StageRow& row, int layer, std::vector<PageUpdate>& updates) {
    updates.insert(updates.end(), pending_.begin(), pending_.end());
    pending_.clear();
    for (int block = 0; block <= row.position / limits_.page_tokens; ++block) {
      const auto [it, added] = page_of_.try_emplace({row.slot, layer, block}, 0);
      if (!added) continue;
      it->second = NewPage() % static_cast<int32_t>(limits_.num_pages);
      updates.push_back({row.slot, layer, block, it->second});
    }
  }

  const StageModel& model_;
  Backend& backend_;
  const StepLimits limits_;
  const Weights weights_;
  std::map<std::array<int, 3>, int32_t> page_of_;  // {slot, layer, block}
  std::vector<PageUpdate> pending_;
  int32_t next_page_ = 0;
};

}  // namespace skipstone
