#!/usr/bin/env bash
# Runs stages of the measurements on a GPU host, unattended: each under its own time limit, a
# failing one recorded and the next one run. Exit 0: all passed, or were skipped for a reason on
# record. Ends by printing the tables.
#
# Usage: tools/gpu_report/run.sh BUNDLE OUT STAGE[:SECONDS]...
#   BUNDLE  what scripts/bundle.sh made: the folder, or its .tar.xz
#   OUT     a folder for at most 8 files, which tables.py turns into the tables of RESULTS.md:
#           host.json stages.jsonl parity.log sanitizer.log bench.jsonl peers.jsonl serving.jsonl
#           run.log
#   STAGE   host parity demo decode skip mixed stages peers sanitizer load
#           serving-128 serving-2048 serving-trace, or serving for these three
# Needs bash 5, coreutils, python3; for `peers` a python3 with PyTorch and transformers.
#
# Environment, with defaults:
#   SKIPSTONE_BACKEND=cuda  SKIPSTONE_MODEL=synthetic:llama-2-7b
#   SKIPSTONE_SKIPS='none;attn:last=8;attn:last=11;attn:last=16'  levels, the largest one last
#   SKIPSTONE_BATCHES, SKIPSTONE_CONTEXTS  rows and columns of `decode`
#   SKIPSTONE_POOL_TOKENS   unskipped tokens whose K/V fits; from the device's memory, <= 200000
#   SKIPSTONE_CHUNK=2048    prompt tokens of a step at most, in prefill and in the server
#   SKIPSTONE_CELL_S=45     seconds for one run of engine-bench
#   SKIPSTONE_BUDGET_S=550  seconds for all stages; what does not fit is recorded as not run
#   SKIPSTONE_PEER_BATCHES='1 32'
#   SKIPSTONE_PEER_ROUNDS=1 how often ours and the peers take turns
#   SKIPSTONE_TRACE         CSV of arrivals for serving-trace
#   SKIPSTONE_TIME_SCALE=0.5  its arrival times are multiplied by it
#   SKIPSTONE_PEER_PYTHON=python3
#   SKIPSTONE_QUICK=1       tiny grids, to try the script itself
set -uo pipefail

readonly USAGE='usage: run.sh BUNDLE OUT STAGE[:SECONDS]...'
readonly SKIPPED=77 # exit status of a stage that does not apply here; its reason is on record
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE

# In seconds: about twice what a stage should take, where that fits one call of 10 minutes.
declare -rA LIMITS=([host]=30 [parity]=120 [sanitizer]=150 [demo]=60 [decode]=150 [skip]=130
  [mixed]=75 [stages]=60 [load]=90 [peers]=450 [serving-128]=90 [serving-2048]=420
  [serving-trace]=300)

# What stages.sh reads. Shapes are BATCH:CONTEXT, loads are tokens (in and out), requests and
# concurrency; steps end within MOST_POSITIONS.
# shellcheck disable=SC2034
settings() {
  BACKEND=${SKIPSTONE_BACKEND:-cuda}
  MODEL=${SKIPSTONE_MODEL:-synthetic:llama-2-7b}
  SKIPS=${SKIPSTONE_SKIPS:-none;attn:last=8;attn:last=11;attn:last=16}
  CHUNK=${SKIPSTONE_CHUNK:-2048}
  PEER_PYTHON=${SKIPSTONE_PEER_PYTHON:-python3}
  CELL_S=${SKIPSTONE_CELL_S:-45} LOAD_S=300 SANITIZER_S=60
  STEPS=32 ROUNDS=2 MOST_POSITIONS=4096
  BATCHES='1 8 32 128 256' CONTEXTS='128 1024 4096'
  SHAPES='1:128 1:2048 32:128 32:2048' MIXED='32:512 128:128'
  PROMPTS='128 512 2048 4096' STAGES_PROMPT=2048
  PEER_BATCHES='1 32' PEER_CONTEXT=128 PEER_ROUNDS=${SKIPSTONE_PEER_ROUNDS:-1}
  LOAD_128=(128 1024 512) LOAD_2048=(2048 96 96) TRACE_SECONDS=60
  if [[ ${SKIPSTONE_QUICK:-} == 1 ]]; then
    STEPS=4 ROUNDS=1 MOST_POSITIONS=64
    BATCHES='1 2' CONTEXTS='16 64'
    SHAPES='1:16 2:16' MIXED='4:16'
    PROMPTS='16 32' STAGES_PROMPT=32
    PEER_BATCHES='1 2' PEER_CONTEXT=16
    LOAD_128=(8 4 2) LOAD_2048=(16 4 2) TRACE_SECONDS=1
  fi
  BATCHES=${SKIPSTONE_BATCHES:-$BATCHES} CONTEXTS=${SKIPSTONE_CONTEXTS:-$CONTEXTS}
  PEER_BATCHES=${SKIPSTONE_PEER_BATCHES:-$PEER_BATCHES}
}

# record FILE [KEY=VALUE...] < OUTPUT
record() {
  local file=$1
  shift
  python3 -B "$HERE/record.py" "$OUT/$file" "$@"
}

say() { echo "$(date +%H:%M:%S) $*" | tee -a "$OUT/run.log"; }

reason() { echo "$*" >"$SCRATCH/reason"; }

# Unskipped tokens whose K/V fits beside the weights of a 7B model and 4 GiB of everything else.
pool_tokens() {
  local mib tokens=200000
  mib=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1)
  if [[ $mib =~ ^[0-9]+$ ]]; then tokens=$(((mib - 12853 - 4096) * 2)); fi # half a MiB per token
  echo $((tokens > 200000 ? 200000 : tokens))
}

# Links cuBLASLt, the Toolkit's or that of PyTorch's packages, where the loader does not know it.
# PyTorch is not to see the link: it brings its own.
find_cublas() {
  local library=libcublasLt.so.13 folder packages
  if [[ -e $BUNDLE/lib/$library ]] || ldconfig -p 2>/dev/null | grep -q "$library"; then return; fi
  packages=$("$PEER_PYTHON" -c 'import site; print(site.getsitepackages()[0])' 2>/dev/null)
  for folder in "${CUDA_HOME:-/usr/local/cuda}"/lib64 "$packages"/nvidia/*/lib; do
    if [[ -e $folder/$library ]]; then
      ln -s "$folder/$library" "$SCRATCH/libraries/"
      return
    fi
  done
}

# The stage as a process of its own, so that a time limit ends it with all that it started.
run_one() {
  STAGE=$1
  trap 'trap - TERM; stop_server; wait; exit 143' TERM
  "stage_$STAGE"
}

# supervise STAGE LIMIT COMMAND_LINE: runs it and records how it ended. Fails as the stage does.
supervise() {
  local stage=$1 limit=$2 left=$((BUDGET - SECONDS)) status=0 result=passed start=$SECONDS why
  rm -f "$SCRATCH/reason"
  limit=$((limit < left ? limit : left))
  if ((limit < 1)); then
    result='not run' limit=0
    reason "no time left of $BUDGET s"
  else
    say "$stage: at most $limit s"
    timeout --kill-after=15 "$limit" "$BASH" "$HERE/run.sh" --one "$stage" || status=$?
    case $status in
      0) ;;
      "$SKIPPED") result=skipped ;;
      124 | 137) result='timed out' ;;
      *) result=failed ;;
    esac
  fi
  why=$(cat "$SCRATCH/reason" 2>/dev/null)
  record stages.jsonl stage="$stage" result="$result" exit="$status" limit_s="$limit" \
    seconds=$((SECONDS - start)) reason="$why" command="$3" </dev/null
  say "$stage: $result${why:+, $why}"
  [[ $result == passed || $result == skipped ]]
}

# A bundle's folder, absolute; an archive is unpacked.
open_bundle() {
  local bundle=$1
  if [[ -f $bundle ]]; then
    python3 -m tarfile -e "$bundle" "$SCRATCH/bundle" || return 1
    bundle=$(echo "$SCRATCH"/bundle/*)
  fi
  [[ -x $bundle/bin/skipstone-engine-bench ]] || { echo "run.sh: no bundle in $1" >&2 && return 1; }
  (cd "$bundle" && pwd)
}

check_stages() {
  local stage
  for stage in "$@"; do
    [[ $stage =~ ^([a-z0-9-]+)(:[0-9]+)?$ && -n ${LIMITS[${BASH_REMATCH[1]}]:-} ]] && continue
    echo "run.sh: no stage \"$stage\"; there are: ${!LIMITS[*]}" >&2
    return 1
  done
}

main() {
  local arguments="$*" bundle=${1:-} stage limit names='' stages status=0
  (($# >= 3)) || { echo "$USAGE" >&2 && exit 2; }
  OUT=$2
  shift 2
  for stage in "$@"; do
    if [[ $stage == serving ]]; then stage='serving-128 serving-2048 serving-trace'; fi
    names+=" $stage"
  done
  read -ra stages <<<"$names"
  check_stages "${stages[@]}" || exit 2
  mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 2
  SCRATCH=$(mktemp -d) || exit 2
  trap 'rm -rf "$SCRATCH"' EXIT
  mkdir "$SCRATCH/libraries"
  BUNDLE=$(open_bundle "$bundle") || exit 2
  BUDGET=${SKIPSTONE_BUDGET_S:-550} POOL=${SKIPSTONE_POOL_TOKENS:-$(pool_tokens)}
  LIBRARIES=$SCRATCH/libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  find_cublas
  export BUNDLE OUT SCRATCH POOL LIBRARIES
  rm -f "$OUT/host.json"
  python3 -B "$HERE/host.py" "$PEER_PYTHON" |
    record host.json backend="$BACKEND" model="$MODEL" pool_tokens="$POOL"
  for stage in "${stages[@]}"; do
    limit=${LIMITS[${stage%:*}]}
    if [[ $stage == *:* ]]; then limit=${stage#*:}; fi
    supervise "${stage%:*}" "$limit" "run.sh $arguments" || status=1
  done
  python3 -B "$HERE/tables.py" "$OUT"
  return $status
}

# shellcheck source-path=SCRIPTDIR source=stages.sh
source "$HERE/stages.sh"
settings
if [[ ${1:-} == --one ]]; then
  run_one "$2"
else
  main "$@"
fi
