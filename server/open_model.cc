// From the configuration to a runner, tokenizer and limits.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/kv/page_pool.h"
#include "engine/levels/compensation.h"
#include "engine/llama_runner.h"
#include "engine/make_backend.h"
#include "engine/model/synthetic.h"
#include "engine/request_limits.h"
#include "engine/schedule/scheduler.h"
#include "server/field_error.h"
#include "server/levels.h"
#include "server/logging.h"
#include "server/server.h"

namespace skipstone::server {
namespace {

// Of the free memory on the CPU, where the weights' page cache and everything else live too.
constexpr double kCpuPageShare = 0.4;
constexpr double kDevicePageShare = 0.9;
// One hands out some 70,000 tokens a second, and gRPC's threads need as much beside it.
constexpr int kCpusPerOutputThread = 4;
constexpr int kOutputThreads = 4;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

absl::StatusOr<int64_t> PoolPages(const ServerConfig& config, const LoadedModel& model) {
  const SchedulerOptions& scheduler = config.engine.scheduler;
  if (scheduler.num_pages > 0) return scheduler.num_pages;
  const int64_t page_bytes = model.backend->PageBytes(scheduler.page_tokens);
  const int64_t free = model.backend->FreeBytes();
  const ModelShape& shape = model.config.shape;
  if (config.kv_memory_bytes > 0) {
    const int64_t pages = config.kv_memory_bytes / page_bytes;
    if (pages >= shape.num_layers) return std::min(pages, PagePool::kMaxPages);
    return absl::InvalidArgumentError(absl::StrFormat(
        "kv_memory: %d bytes hold %d pages of %d bytes; one block of this model needs %d",
        config.kv_memory_bytes, pages, page_bytes, shape.num_layers));
  }
  const double share = model.backend->asynchronous() ? kDevicePageShare : kCpuPageShare;
  const auto by_memory = static_cast<int64_t>(static_cast<double>(free) * share) / page_bytes;
  // More than this can never be in use.
  const int64_t most = CeilDiv(shape.max_context, scheduler.page_tokens) * shape.num_layers *
                       int64_t{scheduler.max_sequences};
  if (by_memory < shape.num_layers) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%d bytes are free: too little for K/V pages of %d bytes", free, page_bytes));
  }
  return std::min({by_memory, most, PagePool::kMaxPages});
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> OpenTokenizerOf(const ServerConfig& config,
                                                                 const ModelConfig& model) {
  if (IsSyntheticModel(config.model)) {
    return std::shared_ptr<const Tokenizer>(MakeSyntheticTokenizer(model.shape.vocab));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(auto tokenizer, OpenTokenizer(config.model, model.bos_id));
  auto padding = PaddingIds(*tokenizer, model.shape.vocab);
  if (!padding.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %s", config.model, std::string(padding.status().message())));
  }
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

namespace {

// What the tokenizer's files make of the model's, and what is worth a line.
void JoinTokenizer(const Tokenizer& tokenizer, ModelConfig& config) {
  const int known = tokenizer.vocab_size();
  if (known > 0 && known < config.shape.vocab) {
    LogEvent(Severity::kInfo, "vocabulary is padded",
             {{"tokens", absl::StrFormat("%d", known)},
              {"vocab_size", absl::StrFormat("%d", config.shape.vocab)}});
  }
  for (const absl::Status& status : {tokenizer.CheckText(), tokenizer.CheckChat()}) {
    if (status.ok()) continue;
    LogEvent(Severity::kWarning, "not served", {{"why", std::string(status.message())}});
    break;
  }
  const int eos_id = tokenizer.eos_id().value_or(-1);
  if (eos_id >= 0 && eos_id < config.shape.vocab && !config.names_eos) config.eos_ids = {eos_id};
}

// Before pages are allocated: maps are weights.
absl::Status AddMaps(const ServerConfig& config, const LevelsFile& file, LoadedModel& model) {
  model.maps_file = file.storage;
  const absl::Status loaded =
      LoadMaps(file, model.fingerprint, *model.backend, &model.weights, &model.maps);
  return loaded.ok() ? loaded : In("--levels: " + config.levels_file, loaded);
}

std::vector<SkipSet> LevelSets(const Levels& levels) {
  std::vector<SkipSet> sets;
  for (const Level& level : levels.all()) sets.push_back(level.skip);
  return sets;
}

// Of rows that liveness stops early a step takes up to twice as many.
StepLimits StepLimitsOf(const SchedulerOptions& options) {
  return {.max_rows = kMaxRowsPerWork * options.max_batch_tokens,
          .max_logits_rows = options.max_batch_tokens,
          .max_slots = options.max_sequences,
          .page_tokens = options.page_tokens,
          .num_pages = options.num_pages};
}

}  // namespace

EngineOptions EngineOptionsOf(const ServerConfig& config) {
  EngineOptions options = config.engine;
  options.scheduler.fair_share = !config.fair_share.empty();
  options.limits.max_tenant_running = config.policy.max_tenant_running;
  options.limits.max_tenant_queued = config.policy.max_tenant_queued;
  options.output_threads = std::clamp(AvailableCpus() / kCpusPerOutputThread, 1, kOutputThreads);
  return options;
}

absl::StatusOr<std::optional<LevelsFile>> OpenLevelsFileOf(const ServerConfig& config) {
  if (config.levels_file.empty()) return std::nullopt;
  auto file = ReadLevelsFile(config.levels_file);
  if (!file.ok()) return In("--levels", file.status());
  return *std::move(file);
}

absl::StatusOr<ServedModel> OpenModel(const ServerConfig& config) {
  if (config.model.empty()) {
    return absl::InvalidArgumentError(
        "model: none is given; use --model DIR or --model synthetic:llama-2-7b");
  }
  // First, since it fails sooner than a model loads.
  SKIPSTONE_ASSIGN_OR_RETURN(std::optional<LevelsFile> levels_file, OpenLevelsFileOf(config));
  SKIPSTONE_ASSIGN_OR_RETURN(LoadedModel model,
                             LoadModel(config.model, {.backend = config.backend,
                                                      .threads = config.threads,
                                                      .tuning_cache = config.tuning_cache}));
  ServedModel served;
  SKIPSTONE_ASSIGN_OR_RETURN(served.tokenizer, OpenTokenizerOf(config, model.config));
  if (!IsSyntheticModel(config.model)) {
    JoinTokenizer(*served.tokenizer, model.config);
    served.tokenizer_archive = OpenTokenizerArchive(config.model);
  }
  served.info = {.backend = model.backend->name(),
                 .weight_type = NameOf(model.weight_type),
                 .fingerprint = model.fingerprint,
                 .config = model.config};
  const ModelShape& shape = model.config.shape;
  if (levels_file) SKIPSTONE_RETURN_IF_ERROR(AddMaps(config, *levels_file, model));
  const LevelsFile* const file = levels_file ? &*levels_file : nullptr;
  SKIPSTONE_ASSIGN_OR_RETURN(const Levels levels,
                             Levels::Make(config, shape.num_layers, shape.max_context, file));
  SKIPSTONE_ASSIGN_OR_RETURN(const int64_t pages, PoolPages(config, model));
  served.options = EngineOptionsOf(config);
  SchedulerOptions& scheduler = served.options.scheduler;
  scheduler.num_pages = pages;
  scheduler.work = ModelWorkOf(model);
  served.options.limits.num_layers = shape.num_layers;
  served.options.limits.vocab = shape.vocab;
  served.options.limits.max_context = shape.max_context;
  served.options.limits.unserved = UnservedFields(*model.backend);
  served.options.eos_ids = model.config.eos_ids;
  served.levels_file = std::move(levels_file);
  SKIPSTONE_ASSIGN_OR_RETURN(served.runner,
                             MakeLlamaRunner(std::move(model), {.limits = StepLimitsOf(scheduler),
                                                                .levels = LevelSets(levels),
                                                                .liveness = scheduler.liveness}));
  LogEvent(Severity::kInfo, "loaded",
           {{"model", config.model},
            {"backend", served.info.backend},
            {"weights", served.info.weight_type},
            {"layers", absl::StrFormat("%d", shape.num_layers)},
            {"kv_pages", absl::StrFormat("%d", pages)}});
  return served;
}

}  // namespace skipstone::server
