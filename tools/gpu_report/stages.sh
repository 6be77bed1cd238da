# The stages of run.sh, which reads this file: functions stage_NAME that return 0, or $SKIPPED with
# a reason, or something else. A cell that fails does not keep the next one from being measured.
# They use run.sh's settings and functions, and BUNDLE OUT SCRATCH POOL LIBRARIES STAGE.
# shellcheck shell=bash disable=SC2153,SC2154

# run_to_line SECONDS FILE [KEY=VALUE...] -- PROGRAM ARGUMENT...: runs a program of the bundle that
# prints JSON; one line in FILE, which has the error where there was one. One that hangs costs its
# seconds and not the stage's.
run_to_line() {
  local limit=$1 file=$2 keys=() output status=0
  shift 2
  while [[ $1 != -- ]]; do keys+=("$1") && shift; done
  shift
  # --foreground: else the stage's own limit would not reach it.
  output=$(LD_LIBRARY_PATH=$LIBRARIES timeout --foreground --kill-after=5 "$limit" \
    "$BUNDLE/bin/$1" "${@:2}" 2>"$SCRATCH/stderr") || status=$?
  cat "$SCRATCH/stderr" >>"$OUT/run.log"
  if [[ $status == 124 || $status == 137 ]]; then
    keys+=("error=not done in $limit s")
  elif [[ $status != 0 ]]; then
    keys+=("error=exit $status: $(tail -n 1 "$SCRATCH/stderr")")
  elif [[ -z $output ]]; then
    status=1 keys+=("error=no output")
  fi
  record "$file" stage="$STAGE" command="$*" "${keys[@]}" <<<"$output" || status=1
  say "$STAGE: $(sed -E 's/ --(model|backend|server|json|tuning_cache)[^ ]*//g' <<<"$*") (exit $status)"
  return "$status"
}

# engine_bench FILE [KEY=VALUE...] -- FLAG...
engine_bench() {
  local file=$1 keys=()
  shift
  while [[ $1 != -- ]]; do keys+=("$1") && shift; done
  shift
  run_to_line "$CELL_S" "$file" "${keys[@]}" -- \
    skipstone-engine-bench --model="$MODEL" --backend="$BACKEND" --json \
    --tuning_cache="$SCRATCH/tuning" "$@"
}

# decode_bench BATCH CONTEXT SKIPS FLAG...: decode alone. CONTEXT is the column in the table.
decode_bench() {
  local batch=$1 context=$2 skips=$3
  shift 3
  engine_bench bench.jsonl batch="$batch" column="$context" skip_names="$skips" -- \
    --batch="$batch" --context="$(start_of "$context")" --prompt=0 --steps="$STEPS" \
    --rounds="$ROUNDS" --skip="$skips" "$@"
}

# prefill_bench TOKENS SKIPS ROUNDS FLAG...
prefill_bench() {
  engine_bench bench.jsonl column="$1" skip_names="$2" -- --prompt="$1" --steps=0 --rounds="$3" \
    --chunk="$CHUNK" --skip="$2" "${@:4}"
}

# Where decoding starts so that its steps end within the model's context.
start_of() { echo $(($1 + STEPS > MOST_POSITIONS ? MOST_POSITIONS - STEPS : $1)); }

# tokens_of BATCH CONTEXT: what the shape takes of the pool without skipping.
tokens_of() { echo $(($1 * ($(start_of "$2") + STEPS))); }

# Starts skipstone-server with the flags given and waits for READY; sets SERVER and ADDRESS.
start_server() {
  local fifo=$SCRATCH/ready.$RANDOM line='' start=$EPOCHREALTIME seconds
  mkfifo "$fifo"
  LD_LIBRARY_PATH=$LIBRARIES "$BUNDLE/bin/skipstone-server" --model="$MODEL" \
    --backend="$BACKEND" --tuning_cache="$SCRATCH/tuning" --listen=127.0.0.1:0 \
    --metrics_listen=127.0.0.1:0 --drain_grace=0s --drain_timeout=5s --log_level=warn "$@" \
    >"$fifo" 2>>"$OUT/run.log" &
  SERVER=$!
  exec 3<"$fifo" # stays open, for the server must not write into a closed pipe
  read -r -t 60 -u 3 line
  seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {print b - a}')
  if [[ $line != 'READY grpc='* ]]; then
    stop_server
    reason "the server did not get ready: ${line:-no line in $seconds s}; see run.log"
    return 1
  fi
  ADDRESS=${line#READY grpc=} ADDRESS=${ADDRESS%% *}
  record serving.jsonl stage="$STAGE" model="$MODEL" server_flags="$*" ready_s="$seconds" </dev/null
}

# Returns the server's exit status.
stop_server() {
  [[ -n ${SERVER:-} ]] || return 0
  local status=0
  kill -TERM "$SERVER" 2>/dev/null
  wait "$SERVER" || status=$?
  SERVER=
  exec 3<&-
  return "$status"
}

# client [KEY=VALUE...] -- COMMAND ARGUMENT...
client() {
  local keys=()
  while [[ $1 != -- ]]; do keys+=("$1") && shift; done
  shift
  run_to_line "$LOAD_S" serving.jsonl "${keys[@]}" -- \
    skipstone "$1" --server="$ADDRESS" --json "${@:2}"
}

# From a checkpoint that was just written and is therefore in the page cache.
stage_load() {
  local flags bytes status=0
  mapfile -t flags < <(peer_shape)
  MODEL=$SCRATCH/checkpoint
  bytes=$(python3 -B "$HERE/make_checkpoint.py" "$MODEL" "${flags[@]}" 2>>"$OUT/run.log") ||
    { reason 'no checkpoint written; see run.log' && return 1; }
  cp "$BUNDLE/models/demo/tokenizer.model" "$MODEL/"
  start_server --max_batch_tokens="$CHUNK" || status=1
  stop_server || status=1
  record serving.jsonl stage="$STAGE" checkpoint_bytes="$bytes" </dev/null
  rm -r "$MODEL"
  return "$status"
}

stage_host() {
  cat "$OUT/host.json"
  if [[ $BACKEND != cuda ]]; then return 0; fi
  nvidia-smi >>"$OUT/run.log" 2>&1 || { reason 'nvidia-smi finds no GPU' && return 1; }
}

stage_parity() {
  [[ -e $BUNDLE/bin/engine_cuda_test ]] ||
    { reason 'no engine_cuda_test in the bundle' && return 1; }
  local status=0
  LD_LIBRARY_PATH=$LIBRARIES "$BUNDLE/gpu-tests.sh" 2>&1 |
    tee -a "$OUT/parity.log" >"$SCRATCH/parity" || status=$?
  grep -E '^\[  (PASSED|FAILED)' "$SCRATCH/parity" | head -n 20
  if grep -qx 'no device' "$SCRATCH/parity"; then
    reason 'the tests found no device'
    if [[ $BACKEND == cuda ]]; then return 1; else return "$SKIPPED"; fi
  fi
  return "$status"
}

stage_sanitizer() {
  local tool sanitizer filter code why=''
  sanitizer=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer) ||
    { reason 'no compute-sanitizer on this host' && return "$SKIPPED"; }
  for tool in memcheck racecheck synccheck; do
    filter='*Kernel*'
    # Not the ceilings, whose work is large, nor what runs on the host alone.
    if [[ $tool == memcheck ]]; then filter='-*Probe*:*Golden*:*DeviceWeights*:*Tuning*'; fi
    echo "== $tool $filter" >>"$OUT/sanitizer.log"
    code=0
    SKIPSTONE_TEST_ROOT=$BUNDLE LD_LIBRARY_PATH=$LIBRARIES \
      timeout --foreground --kill-after=10 "$SANITIZER_S" "$sanitizer" --tool "$tool" \
      --error-exitcode 9 --print-limit 50 "$BUNDLE/bin/engine_cuda_test" --gtest_brief=1 \
      --gtest_filter="$filter" >>"$OUT/sanitizer.log" 2>&1 || code=$?
    echo "== $tool exit $code" >>"$OUT/sanitizer.log"
    say "sanitizer: $tool (exit $code)"
    case $code in
      0) continue ;;
      124 | 137) why+="${why:+, }$tool: not done in $SANITIZER_S s" ;;
      *) why+="${why:+, }$tool: exit $code" ;;
    esac
    reason "$why"
  done
  [[ -z $why ]]
}

stage_demo() {
  local status=0
  MODEL=$BUNDLE/models/demo
  engine_bench bench.jsonl -- --batch=1 --context=64 --prompt=64 --steps=20 --rounds=1 || status=1
  start_server || return 1
  client workload=demo -- generate --max_tokens=32 --temperature=0 \
    --skip='none;attn:last=50%' 'In the beginning' || status=1
  stop_server || status=1
  return "$status"
}

# Cells beyond the pool are tried with the largest skip set, and beyond twice the pool left out.
stage_decode() {
  local batch context tokens skip status=0
  for batch in $BATCHES; do
    for context in $CONTEXTS; do
      tokens=$(tokens_of "$batch" "$context")
      if ((tokens > 2 * POOL)); then
        record bench.jsonl stage=decode batch="$batch" column="$context" \
          left_out="$tokens tokens, the pool holds $POOL" </dev/null
        continue
      fi
      skip=none
      if ((tokens > POOL)); then skip=${SKIPS##*;}; fi
      decode_bench "$batch" "$context" "$skip" || status=1
    done
  done
  return "$status"
}

# All levels side by side; in pairs with the first where the pool does not hold the K/V of all.
stage_skip() {
  local shape batch context prompt levels skip status=0
  IFS=';' read -ra levels <<<"$SKIPS"
  for shape in $SHAPES; do
    batch=${shape%:*} context=${shape#*:}
    if (($(tokens_of "$batch" "$context") * ${#levels[@]} <= POOL)); then
      decode_bench "$batch" "$context" "$SKIPS" || status=1
      continue
    fi
    for skip in "${levels[@]:1}"; do
      decode_bench "$batch" "$context" "${levels[0]};$skip" || status=1
    done
  done
  for prompt in $PROMPTS; do
    prefill_bench "$prompt" "$SKIPS" $((3 * ROUNDS)) || status=1
  done
  return "$status"
}

# Its pages come on top of those of all levels.
stage_mixed() {
  local shape batch context tokens levels status=0
  IFS=';' read -ra levels <<<"$SKIPS"
  for shape in $MIXED; do
    batch=${shape%:*} context=${shape#*:}
    tokens=$(($(tokens_of "$batch" "$context") * (${#levels[@]} + 1)))
    if ((tokens > POOL)); then
      record bench.jsonl stage=mixed batch="$batch" column="$context" \
        left_out="$tokens tokens, the pool holds $POOL" </dev/null
      continue
    fi
    decode_bench "$batch" "$context" "$SKIPS" --mixed || status=1
  done
  # Sets that do not nest: the rows of a layer are no range.
  shape=${MIXED%% *}
  decode_bench "${shape%:*}" "${shape#*:}" 'none;attn:0,last=1;attn:last=2' --mixed || status=1
  return "$status"
}

# The smallest and the largest decode shape, and a prompt.
stage_stages() {
  local shape status=0
  for shape in ${SHAPES%% *} ${SHAPES##* }; do
    decode_bench "${shape%:*}" "${shape#*:}" none --stages || status=1
  done
  prefill_bench "$STAGES_PROMPT" none "$ROUNDS" --stages || status=1
  return "$status"
}

# Prints the peers' flags for MODEL: none for the 7B shape, which is their default.
peer_shape() {
  local pair
  if [[ $MODEL != synthetic:*=* ]]; then return; fi
  tr ',' '\n' <<<"${MODEL#synthetic:}" | while read -r pair; do
    case $pair in
      context=* | type=*) ;;
      *) echo "--${pair/_/-}" ;;
    esac
  done
}

# peer SCRIPT ROUND FLAG...: each result is recorded at once, so that it stays if time runs out.
peer() {
  local script=$1 round=$2 status=0
  shift 2
  "$PEER_PYTHON" -B "$HERE/$script" "$@" 2>>"$OUT/run.log" |
    while IFS= read -r line; do
      record peers.jsonl stage=peers round="$round" <<<"$line"
      say "peers: ${line:0:120}"
    done || status=1
  if [[ $status != 0 ]]; then reason "$script failed; see peers.jsonl and run.log"; fi
  return "$status"
}

# Ours, the loop, transformers, the smallest batch first: compilation may take all the time there
# is, and what needs none goes ahead. The compiler's cache makes a second round short.
stage_peers() {
  local round batch flags loop_mode=graph,compiled status=0
  mapfile -t flags < <(peer_shape)
  flags+=(--context="$PEER_CONTEXT" --steps="$STEPS" --json)
  if [[ $BACKEND != cuda ]]; then flags+=(--device=cpu) loop_mode=compiled; fi
  export TORCHINDUCTOR_CACHE_DIR=$SCRATCH/inductor
  for ((round = 1; round <= PEER_ROUNDS; ++round)); do
    for batch in $PEER_BATCHES; do
      engine_bench peers.jsonl peer=skipstone round="$round" -- --batch="$batch" \
        --context="$PEER_CONTEXT" --prompt=0 --steps="$STEPS" --rounds="$ROUNDS" || status=1
      peer peer_cuda_graph_loop.py "$round" --batch="$batch" --mode="$loop_mode" "${flags[@]}" ||
        status=1
      peer peer_transformers.py "$round" --batch="$batch" --mode=eager,compiled "${flags[@]}" ||
        status=1
    done
  done
  return "$status"
}

# serve WORKLOAD LEVELS CONCURRENCY FLAG...: one server; each level in turn, after a warm-up.
serve() {
  local workload=$1 concurrency=$3 levels skip status=0
  IFS=';' read -ra levels <<<"$2"
  shift 3
  start_server --max_batch_tokens="$CHUNK" --max_sequences=512 || return 1
  for skip in "${levels[@]}"; do
    client workload=warm-up level="$skip" -- bench --skip="$skip" --concurrency="$concurrency" \
      --requests="$concurrency" --prompt_tokens=16 --output_tokens=16 || status=1
    client workload="$workload" level="$skip" -- bench --skip="$skip" "$@" || status=1
  done
  stop_server || status=1
  return "$status"
}

# serve_closed LEVELS TOKENS REQUESTS CONCURRENCY
serve_closed() {
  serve "$2/$2" "$1" "$4" --prompt_tokens="$2" --output_tokens="$2" --requests="$3" \
    --concurrency="$4"
}

# Only the two ends of the levels, so that it fits beside others in one call.
# No more open requests than pages for all: preemptions would make the levels unlike.
stage_serving-128() {
  local tokens=${LOAD_128[0]} open=${LOAD_128[2]}
  local most=$((POOL * 9 / 10 / (2 * tokens)))
  serve_closed "${SKIPS%%;*};${SKIPS##*;}" "$tokens" "${LOAD_128[1]}" $((open < most ? open : most))
}

stage_serving-2048() { serve_closed "${SKIPS%%;*};${SKIPS##*;}" "${LOAD_2048[@]}"; }

# The client shortens prompts to the model's context less the output.
stage_serving-trace() {
  [[ -n ${SKIPSTONE_TRACE:-} ]] || { reason 'SKIPSTONE_TRACE is not set' && return "$SKIPPED"; }
  serve trace "${SKIPS%%;*};${SKIPS##*;}" 8 --trace="$SKIPSTONE_TRACE" \
    --time_scale="${SKIPSTONE_TIME_SCALE:-0.5}" --duration="${TRACE_SECONDS}s"
}
