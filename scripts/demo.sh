#!/usr/bin/env bash
# Starts skipstone-server on the bundled model, CPU engine.
# Usage: scripts/demo.sh BIN_DIR           generate one prompt at several levels, show what they cost
#                                          in quality and what they save, then stop
#        scripts/demo.sh BIN_DIR --stay    stay up on fixed ports until interrupted
set -euo pipefail
cd "$(dirname "$0")/.."

readonly BIN=${1:?usage: scripts/demo.sh BIN_DIR [--stay]}
readonly PROMPT='And the LORD spake unto Moses'
# Of the bundled model's calibrated levels, and sets of one's own.
readonly SKIPS='none;attn-3;attn-6;attn-6-rank16;win:last=50%/16;attn:0-11'

LOG=$(mktemp)
SERVER=
# Ends the server whatever happened, and shows its log if something did.
finish() {
  local status=$?
  if [[ -n $SERVER ]] && kill "$SERVER" 2>/dev/null; then wait "$SERVER" || true; fi
  if [[ $status != 0 ]]; then cat "$LOG" >&2; fi
  rm -f "$LOG"
  exit "$status"
}
trap finish EXIT

if [[ ${2:-} == --stay ]]; then
  trap 'exit 0' INT TERM
  listen=(--listen="${LISTEN:-127.0.0.1:50051}" --metrics_listen="${METRICS_LISTEN:-127.0.0.1:9400}")
else
  listen=(--listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0 --drain_grace=0s)
fi
exec {ready}< <(exec "$BIN/skipstone-server" --model=models/demo --levels=models/demo/levels.yaml --backend=cpu "${listen[@]}" 2>"$LOG")
SERVER=$!
# End of file instead of a line: the server has ended.
read -r line <&"$ready" || { echo "the server did not start" >&2; exit 1; }
[[ $line =~ ^READY\ grpc=([^ ]+)\ metrics=([^ ]+)$ ]] || { echo "unexpected: $line" >&2; exit 1; }
readonly GRPC=${BASH_REMATCH[1]} METRICS=${BASH_REMATCH[2]}

if [[ ${2:-} == --stay ]]; then
  cat <<TEXT
gRPC     $GRPC
metrics  http://$METRICS/metrics
Try, in another terminal:
  $BIN/skipstone generate --server $GRPC --skip 'attn:last=33%' --max_tokens 48 '$PROMPT'
  $BIN/skipstone bench --server $GRPC --concurrency 8 --requests 64 --skip 'none@50;attn:last=50%@50'
Ctrl-C stops the server.
TEXT
  wait "$SERVER"
else
  # The first request finds cold caches and weights that were never touched.
  "$BIN/skipstone" generate --server "$GRPC" --max_tokens 64 --ignore_eos "$PROMPT" >/dev/null 2>&1
  "$BIN/skipstone" generate --server "$GRPC" --temperature 0 --max_tokens 64 --ignore_eos \
    --skip "$SKIPS" "$PROMPT"
  echo
  echo "What the levels cost, as skipstone-calibrate measured it:"
  "$BIN/skipstone" info --server "$GRPC" | sed -n "/^quality of/,\$p"
  kill "$SERVER"
  wait "$SERVER"  # a server that does not end well fails the demo
  SERVER=
  # The bundled model fits the cache, so what it gains says little.
  echo
  echo "Speed where weights stream from memory (12 layers, hidden 1,536, random weights):"
  "$BIN/skipstone-engine-bench" --model synthetic:layers=12,hidden=1536,heads=12,kv_heads=12,ffn=4096,vocab=4096 \
    --prompt 0 --steps 8 --rounds 3 --skip 'none;attn:last=25%;attn:last=50%' | sed 1d
fi
