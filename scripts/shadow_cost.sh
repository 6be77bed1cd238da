#!/usr/bin/env bash
# What scoring 5 % of the requests in the serving batch costs the others: two servers on the bundled
# model, one without shadows, under the same open-loop load by turns; medians of the ratios of ITL,
# and of the server without shadows against itself, which is what the machine's noise makes of 1.
# Usage: scripts/shadow_cost.sh BIN_DIR [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly BIN=${1:?usage: scripts/shadow_cost.sh BIN_DIR [ROUNDS]}
readonly ROUNDS=${2:-21}

SERVERS=()
finish() {
  if ((${#SERVERS[@]})); then kill "${SERVERS[@]}" 2>/dev/null || true; fi
  rm -f "$RATIOS"
}
RATIOS=$(mktemp)
trap finish EXIT

# start FRACTION: sets ADDRESS.
start() {
  local line
  exec {ready}< <(exec "$BIN/skipstone-server" --model=models/demo --backend=cpu --threads=1 \
    --prefix_cache=false --shadow_fraction="$1" --listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0 \
    --drain_grace=0s --log_level=error)
  SERVERS+=($!)
  read -r line <&"$ready" || { echo "the server did not start" >&2; exit 1; }
  [[ $line =~ ^READY\ grpc=([^ ]+)\ metrics=([^ ]+)$ ]] || { echo "unexpected: $line" >&2; exit 1; }
  ADDRESS=${BASH_REMATCH[1]} METRICS=${BASH_REMATCH[2]}
}

# load ADDRESS SEED: p50 and p99 of ITL in ms. Some 2,600 gaps; the server is idle most of the time.
load() {
  "$BIN/skipstone" bench --server "$1" --seed "$2" --rate 12 --duration 6s --prompt_tokens 16-96 \
    --output_tokens 24-48 --skip 'none@50;attn:last=50%@50' 2>/dev/null |
    awk '$1 == "ITL" && !n++ { print $(NF - 3), $(NF - 1) }'
  sleep 1  # what waits to be scored is
}

start 0
readonly OFF=$ADDRESS
start 0.05
readonly ON=$ADDRESS ON_METRICS=$METRICS
for ((round = 0; round <= ROUNDS; ++round)); do
  first=$(load "$OFF" "$round")
  on=$(load "$ON" "$round")
  again=$(load "$OFF" "$round")
  if ((round > 0)); then echo "$first $on $again" >>"$RATIOS"; fi  # the first one is cold
done
median() { awk "{ print $1 }" "$RATIOS" | sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
echo "ITL, medians of $ROUNDS rounds    p50    p99"
echo "with shadows / without        $(median '2 * $3 / ($1 + $5)')  $(median '2 * $4 / ($2 + $6)')"
echo "without / without             $(median '$5 / $1')  $(median '$6 / $2')"
if command -v curl >/dev/null; then  # what they cost by themselves
  curl -s "http://$ON_METRICS/metrics" |
    awk '/^skipstone_(shadow_attributed|request_attributed_time)_seconds_(total|sum)/ && $NF > 0'
fi
