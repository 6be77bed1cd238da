#include "client/cli/load_runner.h"

#include <algorithm>
#include <random>
#include <utility>

namespace skipstone::client {

using std::chrono::duration;
using std::chrono::steady_clock;

namespace {

// 30 years, so that the clock's 64 bits of nanoseconds hold every arrival.
constexpr double kLatestArrivalS = 1e9;

}  // namespace

v1::GenerateRequest MakeLoadRequest(const PlannedRequest& planned, const v1::Skip& skip,
                                    const PromptTokens& tokens) {
  // Ids 0 to 2 are the control tokens of Llama 2's vocabularies.
  const uint32_t first = std::min(3u, tokens.vocab_size - 1);
  std::minstd_rand random(static_cast<uint32_t>(planned.seed));
  std::uniform_int_distribution<uint32_t> id(first, tokens.vocab_size - 1);
  v1::GenerateRequest request;
  auto& ids = *request.mutable_token_ids()->mutable_ids();
  ids.Reserve(planned.prompt_tokens);
  if (tokens.bos_token_id) ids.Add(*tokens.bos_token_id);
  while (ids.size() < planned.prompt_tokens) ids.Add(id(random));
  if (skip.choice_case() != v1::Skip::CHOICE_NOT_SET || skip.has_adaptive()) {
    *request.mutable_skip() = skip;
  }
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(planned.output_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  // Ids say how many tokens a message brings; text may be held back or come in lumps.
  request.mutable_output()->set_token_ids(true);
  return request;
}

void LoadRunner::Start(const PlannedRequest& planned, const v1::Skip& skip, SteadyTime scheduled) {
  {
    std::lock_guard lock(mutex_);
    ++counts_.sent;
    ++counts_.open;
  }
  LoadStream::Start(stub_, MakeLoadRequest(planned, skip, tokens_), options_,
                    {.part = planned.part, .scheduled = scheduled},
                    [this](RequestRecord record) { OnDone(std::move(record)); });
}

void LoadRunner::OnDone(RequestRecord record) {
  std::lock_guard lock(mutex_);
  --counts_.open;
  ++(record.ok() ? counts_.ok : counts_.failed);
  counts_.output_tokens += record.output_tokens;
  records_.push_back(std::move(record));
  // Under the lock: the runner may be gone as soon as Run sees the last one.
  ended_.notify_one();
}

std::vector<RequestRecord> LoadRunner::Run(Workload& workload, uint64_t max_open,
                                           ProgressLine& progress) {
  const SteadyTime start = steady_clock::now();
  const auto elapsed = [&] { return duration<double>(steady_clock::now() - start).count(); };
  const auto has_slot = [&] { return max_open == 0 || counts_.open < max_open; };
  SteadyTime next_progress = start + progress.interval();
  std::optional<PlannedRequest> next;
  bool over = false;

  std::unique_lock lock(mutex_);
  while (!over || counts_.open > 0) {
    SteadyTime wake = next_progress;
    if (!over && has_slot()) {
      if (!next) next = workload.Next(elapsed());
      over = !next.has_value();
      if (over) continue;
      const duration<double> after(std::min(next->arrival_s, kLatestArrivalS));
      const SteadyTime due = start + std::chrono::duration_cast<steady_clock::duration>(after);
      if (due <= steady_clock::now()) {
        lock.unlock();
        Start(*next, workload.mix()[next->part].skip, due);
        lock.lock();
        next.reset();
        continue;
      }
      wake = std::min(wake, due);
    }
    ended_.wait_until(lock, wake);
    if (steady_clock::now() >= next_progress) {
      next_progress += progress.interval();
      const Progress counts = counts_;
      lock.unlock();
      progress.Show(counts, elapsed());
      lock.lock();
    }
  }
  lock.unlock();
  progress.Finish();
  return std::move(records_);
}

}  // namespace skipstone::client
