// What the prefix index costs per block of Llama-2-7B: 32 pages of 16 tokens. `items_per_second`
// are blocks; the time is that of a sequence of 64. An index that allocates in the steady state
// fails.
//
//   kv_benchmark --benchmark_filter=Evict
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/prefix_index.h"
#include "engine/kv/sequence_pages.h"
#include "engine/skip/skip_set.h"
#include "tests/benchmarks/allocation_counter.h"

namespace skipstone {
namespace {

constexpr int kLayers = 32;
constexpr int kPageTokens = 16;
constexpr int kBlocks = 64;        // of a sequence: 1,024 tokens
constexpr int64_t kPool = 417376;  // pages of an H200 beside the weights: 13,043 blocks

// Sequences that come, enter their blocks, and leave them to the cache.
class Traffic {
 public:
  Traffic() { tokens_.resize(kBlocks * kPageTokens); }

  // A sequence of tokens that no other has, or the one of `number` again.
  void Run(int64_t number, bool insert) {
    SetTokens(number);
    SequencePages pages(pool_, skip_, kPageTokens);
    pages.Reserve(kBlocks * kPageTokens);
    const int64_t before = allocations;
    PrefixIndex::Cursor cursor = index_.Adopt(
        {.tokens = tokens_, .max_blocks = kBlocks, .skip = skip_, .salt = salt_}, pages);
    SKIPSTONE_CHECK(cursor.blocks() == (insert ? 0 : kBlocks));
    if (insert) Insert(cursor, pages);
    allocated_ += allocations - before;
  }

  bool Full() const { return pool_.free() < kBlocks * kLayers; }
  // By the index, so far.
  int64_t allocated() const { return allocated_; }

 private:
  void SetTokens(int64_t number) {
    std::iota(tokens_.begin(), tokens_.end(), static_cast<int32_t>(number * kBlocks * kPageTokens));
  }

  void Insert(PrefixIndex::Cursor& cursor, SequencePages& pages) {
    while (Full()) SKIPSTONE_CHECK(index_.Evict());
    SKIPSTONE_CHECK(pages.Grow(kBlocks * kPageTokens));
    for (int block = 0; block < kBlocks; ++block) {
      index_.Insert(cursor, std::span(tokens_).subspan(block * kPageTokens, kPageTokens), pages);
    }
  }

  const SkipSet skip_{kLayers};
  const std::string salt_;
  PagePool pool_{kPool};
  PrefixIndex index_{pool_, kPageTokens};
  std::vector<int32_t> tokens_;
  int64_t allocated_ = 0;
};

constexpr int64_t kSequences = kPool / (kBlocks * kLayers);  // that fit the pool

// One iteration is one sequence.
void CountBlocks(benchmark::State& state) { state.SetItemsProcessed(state.iterations() * kBlocks); }

// Into an index that grows. Making it and tearing it down is not timed.
void BM_Insert(benchmark::State& state) {
  auto traffic = std::make_unique<Traffic>();
  int64_t number = 0;
  for (auto _ : state) {
    if (traffic->Full()) {
      state.PauseTiming();
      traffic = std::make_unique<Traffic>();
      state.ResumeTiming();
    }
    traffic->Run(number++, true);
  }
  CountBlocks(state);
}
BENCHMARK(BM_Insert);

// Sequences all of whose blocks are there, the least recently used first.
void BM_AdoptHit(benchmark::State& state) {
  Traffic traffic;
  for (int64_t i = 0; i < kSequences; ++i) traffic.Run(i, true);
  traffic.Run(0, false);  // gives the index's scratch memory its size
  const int64_t before = traffic.allocated();
  int64_t number = 1;
  for (auto _ : state) traffic.Run(number++ % kSequences, false);
  CountBlocks(state);
  if (traffic.allocated() > before) state.SkipWithError("a hit allocates");
}
BENCHMARK(BM_AdoptHit);

// Every block entered costs another one, the coldest. Several pools in turn, as in a simulated
// fleet, lie further from the core than one.
void BM_EvictAndInsert(benchmark::State& state) {
  const int64_t pools = state.range(0);
  std::vector<Traffic> traffic(pools);
  int64_t turn = 0;
  const auto run = [&] {
    traffic[turn % pools].Run(turn / pools % (3 * kSequences), true);
    ++turn;
  };
  const auto allocated = [&] {
    int64_t sum = 0;
    for (const Traffic& one : traffic) sum += one.allocated();
    return sum;
  };
  while (turn < 2 * kSequences * pools) run();
  const int64_t before = allocated();
  for (auto _ : state) run();
  CountBlocks(state);
  if (allocated() > before) state.SkipWithError("a full index allocates");
}
BENCHMARK(BM_EvictAndInsert)->ArgName("pools")->Arg(1)->Arg(8);

}  // namespace
}  // namespace skipstone

BENCHMARK_MAIN();
