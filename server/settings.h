// The settings of a server that are flags and keys of its YAML file under the same name. The struct
// says type and default, its table the rest; everything else that knows a setting is made of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "engine/engine_options.h"
#include "engine/kv/page_pool.h"
#include "server/port_settings.h"
#include "server/setting_values.h"

namespace skipstone::server {

struct Settings : PortSettings {
  std::string model;
  std::string model_name;
  std::string backend = "auto";
  int threads = 0;
  int validation_threads = 2;
  int64_t kv_memory_bytes = 0;
  EngineOptions engine;  // what the model says of it is not known yet
  std::string fair_share;
  std::string allow_abort = "own";
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(30);
  std::chrono::milliseconds drain_grace = std::chrono::seconds(2);
  std::chrono::milliseconds stream_stall_timeout = std::chrono::seconds(60);
  std::string tuning_cache;
  std::string log_level = "info";
  std::string log_format = "text";
  std::string exposure_log;
  int64_t exposure_log_bytes = int64_t{128} << 20;
  int exposure_log_files = 8;
  bool exposure_text = false;
  double shadow_fraction = 0;
  std::string experiment_state;
  std::string levels_file;
  std::string default_level = "full";

  // A row for each, to a FlagSet. A template only so that not every includer compiles it.
  template <class Flags>
  void AddTo(Flags& flags) {
    SchedulerOptions& scheduler = engine.scheduler;
    RequestLimits& limits = engine.limits;
    flags.Add("model", &model, "Hugging Face directory, or synthetic:llama-2-7b and the like");
    flags.Add("model_name", &model_name,
              "name in metrics and GetModel; default: last part of --model");
    PortSettings::AddTo(flags);
    flags.Add("backend", OneOf(&backend, {"auto", "cpu", "cuda"}), "device that computes");
    flags.Add("threads", InRange(&threads, 1, 1024),
              "CPU threads; default: affinity and cgroup limits");
    flags.Add("validation_threads", InRange(&validation_threads, 1, 64),
              "threads that parse and tokenise requests");
    flags.Add("kv_memory", Bytes(&kv_memory_bytes),
              "memory for K/V pages; default: a share of what is free");
    flags.Add("kv_pages", InRange(&scheduler.num_pages, 1, PagePool::kMaxPages),
              "number of K/V pages, wins over --kv_memory; default: from it");
    flags.Add("page_tokens", InRange(&scheduler.page_tokens, 1, 256), "tokens of one K/V page");
    // A step's rows, up to twice as many, stay within 65536.
    flags.Add("max_batch_tokens", InRange(&scheduler.max_batch_tokens, 1, 32768),
              "work of one step, in prompt rows without skipping");
    flags.Add("max_sequences", InRange(&scheduler.max_sequences, 1, 8192),
              "sequences that run at once");
    flags.Add("max_queue", InRange(&limits.max_queue, 1, 1000000), "sequences that may wait");
    flags.Add("max_queue_tokens", InRange(&limits.max_queue_tokens, 1, int64_t{1} << 40),
              "prompt tokens that may wait");
    flags.Add("itl_bound", UpTo24h(&scheduler.itl_bound),
              "what prefill may add to a step in which others decode; 0: no bound");
    flags.Add("itl_target", UpTo24h(&engine.itl_target),
              "time between tokens from which on skipstone_saturation is 1; 0: any");
    flags.Add("brownout_queue", ShareOf(&engine.brownout_queue),
              "share of --max_queue above which adaptive requests start at their ceiling");
    flags.Add("brownout_pages", ShareOf(&scheduler.brownout_pages),
              "share of the K/V pages in use above which they do");
    flags.Add("fair_share", MetadataKey(&fair_share),
              "metadata:KEY names a request's tenant, tenants share fairly");
    flags.Add("allow_abort", OneOf(&allow_abort, {"own", "any"}),
              "own: a call is aborted over its own connection only; any: by anybody");
    flags.Add("drain_timeout", UpTo24h(&drain_timeout),
              "how long running requests may take after SIGTERM");
    flags.Add("drain_grace", UpTo24h(&drain_grace),
              "how long new requests are taken after SIGTERM");
    flags.Add("stream_stall_timeout", UpTo24h(&stream_stall_timeout),
              "a reader that takes nothing for so long is aborted");
    flags.Add("step_stall_timeout", UpTo24h(&engine.stall_timeout),
              "a step that takes longer turns liveness NOT_SERVING");
    flags.Add("tuning_cache", &tuning_cache, "file for what the CUDA backend tuned at start");
    flags.Add("log_level", OneOf(&log_level, {"debug", "info", "warn", "error"}),
              "severity from which on lines are written");
    flags.Add("log_format", OneOf(&log_format, {"text", "json"}), "form of the lines");
    AddExperimentsTo(flags);
    flags.Add("liveness", Switch(&scheduler.liveness), "false: run dead rows too (for tests)");
    flags.Add("prefix_cache", Switch(&scheduler.prefix_cache), "share K/V pages of equal prefixes");
    flags.Add("levels", &levels_file,
              "levels that were chosen and measured for this model, of skipstone-calibrate");
    flags.Add("default_level", &default_level, "level of requests that choose none");
  }

  template <class Flags>
  void AddExperimentsTo(Flags& flags) {
    SchedulerOptions& scheduler = engine.scheduler;
    flags.Add("exposure_log", &exposure_log,
              "file of JSON lines: what became of each request and of its experiments");
    flags.Add("exposure_log_size", Bytes(&exposure_log_bytes),
              "of it, before it becomes FILE.1, that FILE.2, and so on");
    flags.Add("exposure_log_files", InRange(&exposure_log_files, 2, 10000), "kept, with FILE");
    flags.Add("exposure_text", Switch(&exposure_text), "true: with prompts and outputs");
    flags.Add(
        "shadow_fraction", InRange(&shadow_fraction, 0.0, 1.0),
        "of all requests whose experiment says nothing else: scored once more beside the full "
        "model, when idle");
    flags.Add("shadow_rows", InRange(&scheduler.shadow_rows, 0, 4096),
              "of such a step: what a request that arrives waits for");
    flags.Add("shadow_rows_beside", InRange(&scheduler.shadow_rows_beside, 0, 4096),
              "... beside decoding, where the device has rows to spare");
    flags.Add(
        "experiment_state", &experiment_state,
        "folder that replicas share: arms that guardrails turned off, and what they have seen");
  }
};

}  // namespace skipstone::server
