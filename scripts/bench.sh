#!/usr/bin/env bash
# The engine against the floors of this machine: decode and prefill, with and without skipping, on
# synthetic weights many times larger than the last-level cache. Usage: scripts/bench.sh BIN_DIR
set -euo pipefail
readonly BIN=${1:?usage: scripts/bench.sh BIN_DIR}
readonly SKIPS='none;attn:last=25%;attn:last=33%;attn:last=50%'

# Rows as long as those of Llama 2 7B: weights stream from memory.
"$BIN/skipstone-engine-bench" --model synthetic:layers=4,hidden=4096,heads=32,kv_heads=32,ffn=11008,vocab=8192 \
  --batch 1 --context 128 --prompt 0 --steps 8 --rounds 5 --skip "$SKIPS"
# Its proportions with 12 layers: what liveness drops is close to the arithmetic limit.
"$BIN/skipstone-engine-bench" --model synthetic:layers=12,hidden=1536,heads=12,kv_heads=12,ffn=4096,vocab=4096 \
  --prompt 512 --steps 0 --rounds 3 --skip "$SKIPS"
# A long context, where windows save what is read of it.
"$BIN/skipstone-engine-bench" --model synthetic:layers=8,hidden=512,heads=8,kv_heads=8,ffn=1408,vocab=2048,context=8192 \
  --threads 1 --prompt 4096 --context 4096 --batch 8 --rounds 5 --steps 8 --skip 'none;win:last=50%/64;attn:last=50%'
