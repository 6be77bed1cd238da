#include "client/cli/load_runner.h"

#include <algorithm>
#include <utility>

namespace skipstone::client {

using std::chrono::steady_clock;

v1::GenerateRequest MakeLoadRequest(const PlannedRequest& planned, const v1::Skip& skip,
                                    const PromptTokens& tokens) {
  // Ids 0 to 2 are the control tokens of Llama 2's vocabularies.
  const uint32_t first = std::min(3u, tokens.vocab_size - 1);
  v1::GenerateRequest request;
  auto& ids = *request.mutable_token_ids()->mutable_ids();
  ids.Reserve(planned.prompt_tokens);
  for (const uint32_t token : planned.PromptTokens()) {
    ids.Add(first + token % (tokens.vocab_size - first));
  }
  if (tokens.bos_token_id) ids.Set(0, *tokens.bos_token_id);
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

void LoadRunner::Start(const PlannedRequest& planned, const v1::Skip& skip, Time due) {
  {
    std::lock_guard lock(mutex_);
    ++counts_.sent;
    ++counts_.open;
  }
  LoadRecord record;
  record.part = planned.part;
  record.due = due;
  LoadStream::Start(stub_, MakeLoadRequest(planned, skip, tokens_), options_, std::move(record),
                    [this](LoadRecord ended) { OnDone(std::move(ended)); });
}

void LoadRunner::OnDone(LoadRecord record) {
  std::lock_guard lock(mutex_);
  --counts_.open;
  ++(record.ok() ? counts_.ok : counts_.failed);
  counts_.output_tokens += record.output_tokens;
  records_.push_back(std::move(record));
  // Under the lock: the runner may be gone as soon as Run sees the last one.
  ended_.notify_one();
}

std::vector<LoadRecord> LoadRunner::Run(Workload& workload, std::span<const v1::Skip> skips,
                                        uint64_t max_open, ProgressLine& progress) {
  const Time start = steady_clock::now();
  const auto elapsed = [&] { return steady_clock::now() - start; };
  const auto has_slot = [&] { return max_open == 0 || counts_.open < max_open; };
  Time next_progress = start + progress.interval();
  std::optional<PlannedRequest> next;
  bool over = false;

  std::unique_lock lock(mutex_);
  while (!over || counts_.open > 0) {
    Time wake = next_progress;
    if (!over && has_slot()) {
      if (!next) next = workload.Next(elapsed());
      over = !next.has_value();
      if (over) continue;
      const Time due = start + next->arrival;
      if (due <= steady_clock::now()) {
        lock.unlock();
        Start(*next, skips[next->part], due);
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
      progress.Show(counts, Seconds(elapsed()));
      lock.lock();
    }
  }
  lock.unlock();
  progress.Finish();
  return std::move(records_);
}

}  // namespace skipstone::client
