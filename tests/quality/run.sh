#!/bin/bash
# Quality of windowed and skipped attention: a PyTorch reference, then the same through the server;
# then the levels that skipstone-calibrate chooses and repairs. Long (hours on two cores); goes on
# where it was stopped.
#
#   run.sh BIN_DIR QUALITY_MODEL QUALITY_TEXTS
#
# QUALITY_MODEL: a Hugging Face folder of a Llama-architecture model with bf16 weights and tied
# embeddings, such as SmolLM2-135M. QUALITY_TEXTS: a folder with wikitext-2-raw/wiki.test.raw,
# lambada_openai.jsonl and arc_easy.jsonl.
set -euo pipefail
if [ $# -lt 3 ] || [ -z "$2" ] || [ -z "$3" ]; then
  echo "quality: skipped; give QUALITY_MODEL=DIR and QUALITY_TEXTS=DIR (see tests/quality/run.sh)"
  exit 0
fi
bin=$1 model=$2 texts=$3
here=$(cd "$(dirname "$0")" && pwd)
work=build/quality
mkdir -p $work/stubs
if [ ! -x $work/venv/bin/python ]; then
  python3 -m venv $work/venv
  $work/venv/bin/pip install --quiet torch==2.15.0 numpy tokenizers
fi
protoc --proto_path=proto --python_out=$work/stubs --grpc_out=$work/stubs \
  --plugin=protoc-gen-grpc="$(command -v grpc_python_plugin)" proto/skipstone/v1/inference.proto
reference() { THREADS=$(nproc) $work/venv/bin/python "$here/windows_reference.py" "$@"; }
[ -e $work/items.json ] || reference items "$model" "$texts" $work/items.json
for task in wiki512 wiki2048 lambada recall; do
  reference run "$model" $work/items.json $work/reference.jsonl $task
done
reference attach $work/items.json $work/reference.jsonl
/usr/bin/python3 -B "$here/through_server.py" "$bin/skipstone-server" $work/stubs "$model" \
  $work/items.json $work/server.jsonl
$work/venv/bin/python -B "$here/calibrate_levels.py" "$bin/skipstone-calibrate" "$model" "$texts" \
  $work/levels
