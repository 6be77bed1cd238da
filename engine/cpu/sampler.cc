#include "engine/cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/backend/random.h"
#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

bool Likelier(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.id < b.id;
}

// The distribution after temperature: logits, and unnormalised probabilities of which the largest
// is 1.
struct Distribution {
  std::span<const float> logits;
  std::span<const float> weights;

  double Total() const { return std::accumulate(weights.begin(), weights.end(), 0.0); }
};

// The ids that can belong to the nucleus, likeliest first. Those with less than (1 - top_p) / vocab
// of the mass together hold less than 1 - top_p of it, so the nucleus is complete without them.
std::vector<TokenLogprob> NucleusCandidates(const Distribution& all, double total, float top_p) {
  constexpr double kRounding = 0.999;
  const double least = (1.0 - top_p) * total / std::ssize(all.weights) * kRounding;
  std::vector<TokenLogprob> candidates;
  for (int32_t id = 0; id < std::ssize(all.weights); ++id) {
    if (all.weights[id] >= least) candidates.push_back({id, all.logits[id]});
  }
  std::sort(candidates.begin(), candidates.end(), Likelier);
  return candidates;
}

// Cuts `kept`, likeliest first, after the shortest prefix with top_p of `total`.
void CutNucleus(const Distribution& all, float top_p, double total,
                std::vector<TokenLogprob>& kept) {
  double sum = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    sum += all.weights[kept[i].id];
    if (sum >= top_p * total) return kept.resize(i + 1);
  }
}

// The ids that may be drawn, ascending.
std::vector<int32_t> KeptIds(const Distribution& all, const SamplingParams& params) {
  std::vector<TokenLogprob> kept;
  double total = 0;
  if (params.top_k > 0 && params.top_k < std::ssize(all.logits)) {
    kept = TopLogits(all.logits, params.top_k);
    for (const TokenLogprob& token : kept) total += all.weights[token.id];
  } else {
    total = all.Total();
    kept = NucleusCandidates(all, total, params.top_p);
  }
  if (params.top_p < 1.0f) CutNucleus(all, params.top_p, total, kept);
  std::vector<int32_t> ids;
  for (const TokenLogprob& token : kept) {
    if (all.weights[token.id] >= params.min_p) ids.push_back(token.id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Inverts the cumulative distribution of `ids`; of the whole vocabulary if there are none.
int32_t Draw(const Distribution& all, std::span<const int32_t> ids, float uniform) {
  const bool whole = ids.empty();
  const size_t count = whole ? all.weights.size() : ids.size();
  const auto id_of = [&](size_t i) { return whole ? static_cast<int32_t>(i) : ids[i]; };
  double total = 0;
  for (size_t i = 0; i < count; ++i) total += all.weights[id_of(i)];
  const double target = uniform * total;
  double sum = 0;
  int32_t last = 0;
  for (size_t i = 0; i < count; ++i) {
    const int32_t id = id_of(i);
    sum += all.weights[id];
    if (sum > target) return id;
    if (all.weights[id] > 0) last = id;
  }
  return last;  // rounding: uniform is below 1
}

bool Truncates(const SamplingParams& params) {
  return params.top_k > 0 || params.top_p < 1.0f || params.min_p > 0.0f;
}

}  // namespace

std::vector<TokenLogprob> TopLogits(std::span<const float> logits, int n) {
  std::vector<TokenLogprob> heap;  // the least likely of the best n is at the front
  const size_t size = std::min<size_t>(std::max(n, 0), logits.size());
  if (size == 0) return heap;
  heap.reserve(size);
  for (int32_t id = 0; id < std::ssize(logits); ++id) {
    if (heap.size() < size) {
      heap.push_back({id, logits[id]});
      std::push_heap(heap.begin(), heap.end(), Likelier);
    } else if (logits[id] > heap.front().logprob) {
      std::pop_heap(heap.begin(), heap.end(), Likelier);
      heap.back() = {id, logits[id]};
      std::push_heap(heap.begin(), heap.end(), Likelier);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), Likelier);
  return heap;
}

int32_t SampleToken(std::span<const float> logits, float max, const SamplingState& state,
                    int32_t position, std::span<float> scratch) {
  const SamplingParams& params = state.params();
  const size_t vocab = logits.size();
  if (state.Adjusts()) {
    std::copy(logits.begin(), logits.end(), scratch.begin());
    state.Adjust(scratch.data());
    logits = scratch.first(vocab);
    max = MaxOf(logits.data(), vocab);
  }
  if (params.temperature == 0.0f || max == -std::numeric_limits<float>::infinity()) {
    return static_cast<int32_t>(std::ranges::find(logits, max) - logits.begin());
  }

  const std::span<float> weights = scratch.subspan(vocab, vocab);
  for (size_t i = 0; i < vocab; ++i) weights[i] = (logits[i] - max) / params.temperature;
  ExpAndSum(weights.data(), 0.0f, vocab, weights.data());
  const Distribution all{logits, weights};
  std::vector<int32_t> ids;
  if (Truncates(params)) ids = KeptIds(all, params);
  const float uniform = UniformDraw({.seed = params.seed,
                                     .output_index = static_cast<uint32_t>(state.output_index()),
                                     .position = static_cast<uint32_t>(position)});
  return Draw(all, ids, uniform);
}

LogitsResult ReduceLogits(std::span<const float> logits, const LogitsRow& row,
                          const SamplingState& state, std::span<float> scratch) {
  const auto [max, finite] = ExtentOf(logits.data(), logits.size());
  LogitsResult result{.finite = finite};
  if (row.sample) {
    result.sampled.id = finite ? SampleToken(logits, max, state, row.position, scratch) : 0;
  }
  if (!finite || (row.top_n < 0 && row.target < 0)) return result;
  const float log_sum = max + std::log(SumOfExp(logits.data(), max, logits.size()));
  if (row.sample) result.sampled.logprob = logits[result.sampled.id] - log_sum;
  if (row.target >= 0) result.target = {row.target, logits[row.target] - log_sum};
  if (row.top_n > 0) {
    result.top = TopLogits(logits, row.top_n);
    for (TokenLogprob& token : result.top) token.logprob -= log_sum;
  }
  return result;
}

}  // namespace skipstone
