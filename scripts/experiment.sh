#!/usr/bin/env bash
# One experiment on the bundled model, from its YAML to its page: serves
# deploy/experiment/skipstone.yaml, sends requests of 400 users, and reports.
# Usage: scripts/experiment.sh BIN_DIR OUT_DIR [REQUESTS]
# OUT_DIR gets the exposure log, report.txt, report.json, report.html and, where Chromium is
# installed, report.png.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly BIN=${1:?usage: scripts/experiment.sh BIN_DIR OUT_DIR [REQUESTS]}
readonly OUT=${2:?usage: scripts/experiment.sh BIN_DIR OUT_DIR [REQUESTS]}
readonly REQUESTS=${3:-4000} USERS=400 AT_ONCE=4

SERVER=
finish() {
  local status=$?
  if [[ -n $SERVER ]] && kill "$SERVER" 2>/dev/null; then wait "$SERVER" || true; fi
  if [[ $status != 0 ]]; then cat "$OUT/server.log" >&2; fi
  exit "$status"
}
trap finish EXIT

mkdir -p "$OUT"
rm -f "$OUT"/exposures.jsonl* "$OUT"/report.*
exec {ready}< <(exec "$BIN/skipstone-server" --config=deploy/experiment/skipstone.yaml --backend=cpu \
  --listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0 --drain_grace=0s \
  --exposure_log="$OUT/exposures.jsonl" 2>"$OUT/server.log")
SERVER=$!
# End of file instead of a line: the server has ended.
read -r line <&"$ready" || { echo "the server did not start" >&2; exit 1; }
[[ $line =~ ^READY\ grpc=([^ ]+) ]] || { echo "unexpected: $line" >&2; exit 1; }
readonly GRPC=${BASH_REMATCH[1]}

# Beginnings of sentences of a text that the model has not seen, each of some user.
awk -v requests="$REQUESTS" -v users="$USERS" '
  NF >= 12 { prompt = $1; for (i = 2; i <= 8; ++i) prompt = prompt " " $i; prompts[n++] = prompt }
  END {
    srand(1)
    for (i = 0; i < requests; ++i) {
      printf "--experiment_key=user-%d%c%s%c", rand() * users, 0, prompts[i % n], 0
    }
  }' models/demo/valid.txt |
  xargs -0 -n 2 -P "$AT_ONCE" "$BIN/skipstone" generate --server "$GRPC" --temperature 1 \
    --max_tokens 24 >/dev/null

kill "$SERVER"
wait "$SERVER"  # a server that does not end well fails this
SERVER=
"$BIN/skipstone" experiment report "$OUT/exposures.jsonl" --out "$OUT"
if command -v chromium >/dev/null; then
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1000,1320 \
    --screenshot="$OUT/report.png" "file://$(realpath "$OUT/report.html")" 2>/dev/null
else
  echo "no chromium: no picture"
fi
