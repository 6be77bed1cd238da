#!/usr/bin/env bash
# Makes a tree that runs on any x86-64 Linux with glibc 2.36 or newer and, for CUDA, an NVIDIA
# driver for CUDA 13: programs, the shared libraries they need but glibc's and the driver's, GPU
# tests, the demo model. Usage: scripts/bundle.sh BIN_DIR OUT_DIR [--with-cuda-libs]
#   --with-cuda-libs  adds cuBLASLt (some 500 MB), which the host provides otherwise
# Writes OUT_DIR and, beside it, OUT_DIR.tar.xz.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly USAGE='usage: scripts/bundle.sh BIN_DIR OUT_DIR [--with-cuda-libs]'
readonly BIN=${1:?$USAGE} OUT=${2:?$USAGE}
[[ -z ${3:-} || $3 == --with-cuda-libs ]] || { echo "$USAGE" >&2; exit 1; }

# Libraries of glibc, which must be the host's own, and of the driver.
readonly HOSTS='^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libresolv|libcuda)\.so'

rm -rf "$OUT"
mkdir -p "$OUT"/{bin,lib,models,tests/golden}
for program in skipstone-server skipstone skipstone-engine-bench engine_cuda_test; do
  [[ -e $BIN/$program ]] || continue  # a build without CUDA has no GPU tests
  strip -o "$OUT/bin/$program" "$BIN/$program"
done
ldd "$OUT"/bin/* | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u |
  while read -r name path; do
    [[ $name =~ $HOSTS ]] || strip -o "$OUT/lib/$name" "$path"
  done
if [[ ${3:-} == --with-cuda-libs ]]; then
  library=/usr/local/cuda/lib64/libcublasLt.so.13
  [[ -e $library ]] || { echo "bundle.sh: no $library" >&2; exit 1; }
  cp -L "$library" "$OUT/lib/"
fi
cp -r models/demo "$OUT/models/"
cp tests/golden/demo.json "$OUT/tests/golden/"

cat >"$OUT/gpu-tests.sh" <<'TEXT'
#!/usr/bin/env bash
# Runs the GPU tests of this bundle; arguments go to GoogleTest.
cd "$(dirname "$0")"
SKIPSTONE_TEST_ROOT=$PWD exec bin/engine_cuda_test "$@"
TEXT
chmod +x "$OUT/gpu-tests.sh"
cat >"$OUT/README" <<'TEXT'
Skipstone, a bundle for x86-64 Linux with glibc 2.36 or newer.
  bin/skipstone-server --model=models/demo            prints READY and its addresses
  bin/skipstone generate --server=ADDRESS 'In the beginning'
  bin/skipstone-engine-bench --model=synthetic:llama-2-7b --backend=cuda --batch=1 --context=128
  ./gpu-tests.sh                                       the GPU tests
CUDA needs the NVIDIA driver for CUDA 13, and libcublasLt.so.13 in the loader's path (the CUDA
Toolkit's) unless lib/ has it.
TEXT
tar -C "$(dirname "$OUT")" -c "$(basename "$OUT")" | xz -T0 >"$OUT.tar.xz"
du -h "$OUT.tar.xz"
